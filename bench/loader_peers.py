"""The loaders that loader.py compares with, each at its best reasonable settings; run in the peers' environment.

Each takes the files and a number of workers, and gives endless batches: 64 images, decoded anew each time, a random
resized crop to 224 (scale 0.08 to 1), flipped at random, normalised to float32 in channel-first order.
"""

import random

SIZE, BATCH, SCALE, RATIO = 224, 64, (0.08, 1.0), (3 / 4, 4 / 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def over_torch(files, workers, sample):
    import torch

    class Images(torch.utils.data.IterableDataset):
        def __iter__(self):
            torch.set_num_threads(1)
            draw = random.Random(torch.initial_seed())
            while True:
                yield sample(draw.choice(files))

    return iter(torch.utils.data.DataLoader(Images(), batch_size=BATCH, num_workers=workers, prefetch_factor=4))


def torchvision_pil(files, workers):
    from PIL import Image
    from torchvision import transforms as T

    steps = T.Compose([T.RandomResizedCrop(SIZE, SCALE, RATIO), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, STD)])
    return over_torch(files, workers, lambda path: steps(Image.open(path).convert("RGB")))


def torchvision_io(files, workers):
    import torch
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms import v2

    steps = v2.Compose([
        v2.RandomResizedCrop(SIZE, SCALE, RATIO, antialias=True), v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ])
    return over_torch(files, workers, lambda path: steps(decode_image(read_file(path), mode=ImageReadMode.RGB)))


def random_box(width, height):
    """torchvision's random resized crop: left, top, width, height."""
    import torch
    from torchvision.transforms import RandomResizedCrop

    top, left, rows, columns = RandomResizedCrop.get_params(torch.empty(0, height, width), SCALE, RATIO)
    return left, top, columns, rows


def simplejpeg(files, workers):
    """Threads, since decoding and OpenCV let go of Python's lock; they write into the batch."""
    from concurrent.futures import ThreadPoolExecutor

    import cv2
    import numpy as np
    import simplejpeg as library

    cv2.setNumThreads(1)
    # One pass of OpenCV's table look-up normalises and converts: a level of a channel has one value.
    levels = np.arange(256, dtype=np.float32)
    tables = [(levels / 255 - mean) / std for mean, std in zip(MEAN, STD)]

    def write(path, into):
        with open(path, "rb") as file:
            image = library.decode_jpeg(file.read(), fastdct=False)
        left, top, width, height = random_box(image.shape[1], image.shape[0])
        # Area averaging is OpenCV's antialiased reduction; enlarging is bilinear.
        reduces = height >= SIZE and width >= SIZE
        how = cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
        image = cv2.resize(image[top : top + height, left : left + width], (SIZE, SIZE), interpolation=how)
        if random.random() < 0.5:
            image = cv2.flip(image, 1)
        for channel, plane in enumerate(cv2.split(image)):
            cv2.LUT(plane, tables[channel], dst=into[channel])

    def batch(pool):
        values = np.empty((BATCH, 3, SIZE, SIZE), np.float32)
        return values, [pool.submit(write, path, into) for path, into in zip(random.choices(files, k=BATCH), values)]

    with ThreadPoolExecutor(workers) as pool:
        ahead = batch(pool)
        while True:
            (values, running), ahead = ahead, batch(pool)
            for one in running:
                one.result()
            yield values


def dali(files, workers):
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=BATCH, num_threads=workers, device_id=None, prefetch_queue_depth=2)
    def pipeline():
        data, _ = fn.readers.file(files=files, random_shuffle=True)
        images = fn.decoders.image_random_crop(data, device="cpu", output_type=types.RGB, random_area=SCALE, random_aspect_ratio=RATIO)
        images = fn.resize(images, size=[SIZE, SIZE], interp_type=types.INTERP_TRIANGULAR)
        return fn.crop_mirror_normalize(
            images, dtype=types.FLOAT, output_layout="CHW", mirror=fn.random.coin_flip(),
            mean=[255 * m for m in MEAN], std=[255 * s for s in STD],
        )

    running = pipeline()
    running.build()
    while True:
        (batch,) = running.run()
        yield batch


def spdl(files, workers):
    """ffmpeg's filters crop, scale and flip; its decoder has one thread for each of ours."""
    import numpy as np
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    single = spdl.io.decode_config(decoder_options={"threads": "1"})
    scale = (1 / (255 * np.array(STD, np.float32)))[:, None, None]
    shift = (-np.array(MEAN, np.float32) / np.array(STD, np.float32))[:, None, None]

    def endless():
        while True:
            yield random.choices(files, k=BATCH)

    def load(paths):
        decoded = []
        for path in paths:
            packets = spdl.io.demux_image(path)
            left, top, width, height = random_box(packets.codec.width, packets.codec.height)
            flip = ",hflip" if random.random() < 0.5 else ""
            filters = spdl.io.get_video_filter_desc(
                filter_desc=f"crop={width}:{height}:{left}:{top},scale={SIZE}:{SIZE}:flags=bilinear{flip}", pix_fmt="rgb24"
            )
            decoded.append(spdl.io.decode_packets(packets, decode_config=single, filter_desc=filters))
        array = spdl.io.to_numpy(spdl.io.convert_frames(decoded))  # (N, H, W, 3)
        values = np.multiply(array.transpose(0, 3, 1, 2), scale, dtype=np.float32, order="C")
        values += shift
        return values

    builder = PipelineBuilder().add_source(endless()).pipe(load, concurrency=workers).add_sink(2)
    pipeline = builder.build(num_threads=workers, max_failures=0)
    with pipeline.auto_stop():
        yield from pipeline


PEERS = {"dali": dali, "torchvision-pil": torchvision_pil, "torchvision-io": torchvision_io, "simplejpeg": simplejpeg, "spdl": spdl}
