#!/usr/bin/env python3
"""Makes the images that loader.py measures on where no others are named: 500 × 375, of about the bytes of ImageNet's.

Usage: loader_images.py FOLDER. Noise whose power falls with the square of the frequency, as that of photographs does,
with edges of soft and hard shapes over it; quality 90, 4:2:0. The same files at every call; the folder appears whole.
"""

import io
import os
import pathlib
import shutil
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES, IMAGES_OF_CLASS, WIDTH, HEIGHT, QUALITY = 10, 60, 500, 375, 90


def picture(draw):
    rows, columns = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None, :]
    frequency = np.maximum(np.hypot(rows, columns), 1 / WIDTH)
    noise = draw.normal(size=(3, *frequency.shape)) + 1j * draw.normal(size=(3, *frequency.shape))
    channels = np.fft.irfft2(noise / frequency**1.1, s=(HEIGHT, WIDTH))
    # Brightness dominates: the channels of photographs rise and fall together.
    channels = 0.9 * channels[:1] + 0.25 * channels
    channels = 128 + 52 * (channels - channels.mean()) / channels.std() + draw.uniform(-25, 25, (3, 1, 1))
    image = Image.fromarray(np.clip(channels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    shapes = image.copy()
    pen = ImageDraw.Draw(shapes)
    for _ in range(draw.integers(3, 9)):
        left, top = draw.integers(0, WIDTH), draw.integers(0, HEIGHT)
        box = [left, top, left + draw.integers(20, 200), top + draw.integers(20, 200)]
        pen.ellipse(box, fill=tuple(int(value) for value in draw.integers(0, 256, 3)))
    return Image.blend(image, shapes.filter(ImageFilter.GaussianBlur(float(draw.uniform(0, 2)))), 0.5)


def make(folder):
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    for label in range(CLASSES):
        place = partial / "train" / f"class-{label:02}"
        place.mkdir(parents=True)
        for index in range(IMAGES_OF_CLASS):
            file = io.BytesIO()
            picture(np.random.default_rng([label, index])).save(file, "JPEG", quality=QUALITY)
            (place / f"{index:04}.JPEG").write_bytes(file.getvalue())
    (partial / "val").symlink_to("train")  # our program wants both splits
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)  # another process was faster


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
