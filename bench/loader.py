#!/usr/bin/env python3
"""Rectify's loader against its peers: images/s, in turn, pinned to cores, page cache warm, 1 and 2 workers.

Every side does the same work on the same JPEG files: decode, random resized crop to 224 (scale 0.08 to 1), flip,
normalise to float32 in channel-first order, batches of 64; in the case deit-aug-1w with DeiT's RandAugment (timm's
rand-m9-mstd0.5-inc1) and random erasing (0.25) as well, against torchvision and timm (loader_deit.py).
Usage: loader.py DATA [--rounds 3] [--seconds 5] [--cases plain-1w,plain-2w,deit-aug-1w]
[--peers dali,torchvision-pil,torchvision-io,simplejpeg,spdl,timm] [--results bench/results/loader.jsonl]

DATA is a folder with train/<class>/*.JPEG; only these are read. Peers come from PyPI into a virtual environment outside
the checkout (`RECTIFY_PEERS`, default ~/.cache/rectify/loader-peers). A peer that cannot be installed is left out
and named.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import loader_deit

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ["dali", "torchvision-pil", "torchvision-io", "simplejpeg", "spdl"]
CASES = ["plain-1w", "plain-2w", "deit-aug-1w"]
PACKAGES = ["torch", "torchvision", "nvidia-dali-cuda120", "nvidia-nvimgcodec-cu12", "simplejpeg", "spdl", "opencv-python-headless", "timm"]
SIZE, BATCH, SCALE, RATIO = 224, 64, (0.08, 1.0), (3 / 4, 4 / 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def files_of(data):
    return sorted(str(p) for p in pathlib.Path(data, "train").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))


def timed(batches, seconds):
    """Images a second of an endless iterator of batch lengths, after four batches of warm-up."""
    for _ in range(4):
        next(batches)
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        images += next(batches)
    return images / (time.perf_counter() - start)


def over_torch(files, workers, sample):
    import torch

    class Images(torch.utils.data.IterableDataset):
        def __iter__(self):
            torch.set_num_threads(1)
            draw = random.Random(torch.initial_seed())
            while True:
                yield sample(draw.choice(files))

    loader = torch.utils.data.DataLoader(Images(), batch_size=BATCH, num_workers=workers, prefetch_factor=4)
    return (len(batch) for batch in loader)


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


def simplejpeg_peer(files, workers):
    import cv2
    import numpy as np
    import simplejpeg
    import torch
    from torchvision.transforms import RandomResizedCrop

    cv2.setNumThreads(1)
    scale = np.float32(1 / (255 * np.array(STD)))
    shift = np.float32(-np.array(MEAN) / np.array(STD))

    def sample(path):
        with open(path, "rb") as file:
            image = simplejpeg.decode_jpeg(file.read())
        top, left, height, width = RandomResizedCrop.get_params(torch.empty(0, *image.shape[:2]), SCALE, RATIO)
        # Area averaging is OpenCV's antialiased reduction; enlarging is bilinear.
        reduces = height >= SIZE and width >= SIZE
        how = cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
        image = cv2.resize(image[top : top + height, left : left + width], (SIZE, SIZE), interpolation=how)
        if random.random() < 0.5:
            image = image[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray((image * scale + shift).transpose(2, 0, 1)))

    return over_torch(files, workers, sample)


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
        yield len(batch)


def spdl(files, workers):
    import numpy as np
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    def endless():
        while True:
            yield random.choices(files, k=BATCH)

    def load(paths):
        decoded = []
        for path in paths:
            filters = spdl.io.get_video_filter_desc(
                filter_desc=f"crop=w=iw*{random.uniform(0.4, 1):.3f}:h=ih*{random.uniform(0.4, 1):.3f},"
                f"scale={SIZE}:{SIZE}:flags=bilinear" + (",hflip" if random.random() < 0.5 else ""),
                pix_fmt="rgb24",
            )
            decoded.append(spdl.io.decode_packets(spdl.io.demux_image(path), filter_desc=filters))
        array = spdl.io.to_numpy(spdl.io.convert_frames(decoded))
        values = array.astype(np.float32) * (1 / 255)
        return ((values - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2).copy()

    pipeline = PipelineBuilder().add_source(endless()).pipe(load, concurrency=workers).add_sink(4).build(num_threads=workers)
    with pipeline.auto_stop():
        for batch in pipeline:
            yield len(batch)


LOADERS = {"dali": dali, "torchvision-pil": torchvision_pil, "torchvision-io": torchvision_io, "simplejpeg": simplejpeg_peer, "spdl": spdl}


def loaders_of(case):
    return loader_deit.PEERS if case.startswith("deit-aug") else LOADERS


def python_of_peers():
    """The interpreter of the peers' environment, made at the first call."""
    place = pathlib.Path(os.environ.get("RECTIFY_PEERS", pathlib.Path.home() / ".cache/rectify/loader-peers"))
    python = place / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        for package in PACKAGES:
            if subprocess.run([python, "-m", "pip", "install", "--quiet", package]).returncode:
                print(f"cannot install {package}: its peers are left out", file=sys.stderr)
    return str(python)


def pinned(cores, command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(["taskset", "-c", cores, *command], capture_output=True, text=True, env=environment, timeout=600)
    if run.returncode:
        raise RuntimeError((run.stderr.strip() or "no message").splitlines()[-1])
    return run.stdout


def measure(who, arguments, case, workers, python):
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:workers]))
    if who == "ours":
        program = ROOT / "target/release/rectify-data" if arguments.program is None else arguments.program
        command = [str(program), "bench", arguments.training_alone, "--workers", str(workers), "--seconds", str(arguments.seconds)]
        if case == "deit-aug":
            recipe = pathlib.Path(arguments.training_alone, "deit.toml")
            recipe.write_text(loader_deit.RECIPE)
            command += ["--recipe", str(recipe)]
        return float(pinned(cores, command).split()[0])
    command = [python, __file__, arguments.data, "--peer", who, "--cases", f"{case}-{workers}w", "--workers", str(workers), "--seconds", str(arguments.seconds)]
    return float(pinned(cores, command).split()[-1])


def compare(arguments):
    for path in files_of(arguments.data):
        pathlib.Path(path).read_bytes()  # warms the page cache
    scratch = tempfile.TemporaryDirectory()  # our program wants both splits, of the same classes
    for split in ("train", "val"):
        pathlib.Path(scratch.name, split).symlink_to(pathlib.Path(arguments.data, "train").resolve())
    arguments.training_alone = scratch.name
    python, load = python_of_peers(), os.getloadavg()[0]
    print(f"load before: {load:.1f} (figures of a busy machine are for guidance only)")
    lines = []
    for name in arguments.cases:
        case, workers = name[:-3], int(name[-2])
        peers = [peer for peer in arguments.peers if peer in loaders_of(name)]
        figures, lost = {who: [] for who in ["ours", *peers]}, {}
        for _ in range(arguments.rounds):
            for who in figures:
                if who not in lost:
                    try:
                        figures[who].append(measure(who, arguments, case, workers, python))
                    except (RuntimeError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
                        lost[who] = error
        ours = statistics.median(figures["ours"]) if figures["ours"] else sys.exit(f"ours: {lost['ours']}")
        print(f"\n{name}: ours {ours:.0f} images/s, rounds {[round(f) for f in figures['ours']]}")
        for peer in peers:
            if peer in lost:
                print(f"  {peer:16} left out: {lost[peer]}")
                continue
            # Each round against its own neighbours, so that a load that comes and goes meets both sides.
            ratio = statistics.median(a / b for a, b in zip(figures["ours"], figures[peer]))
            theirs = statistics.median(figures[peer])
            print(f"  {peer:16} {theirs:8.0f} images/s   ours is {ratio:.2f} times that")
            lines.append({
                "bench": "loader", "case": name, "peer": peer, "ours": round(ours, 1),
                "theirs": round(theirs, 1), "ratio": round(ratio, 3), "unit": "images/s", "rounds": arguments.rounds,
            })
    if arguments.results:
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        with arguments.results.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[*PEERS, "timm"])
    parser.add_argument("--cases", type=lambda text: text.split(","), default=CASES)
    parser.add_argument("--program", help="our binary, in place of target/release/rectify-data")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench/results/loader.jsonl")
    parser.add_argument("--peer", help="measure this peer alone and print its images/s (used by the script itself)")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.peer:
        batches = loaders_of(arguments.cases[0])[arguments.peer](files_of(arguments.data), arguments.workers)
        print(timed(iter(batches), arguments.seconds), flush=True)
        os._exit(0)  # worker processes of an endless loader would be waited for
    compare(arguments)


if __name__ == "__main__":
    main()
