#!/usr/bin/env python3
"""Shows that timm takes what `rectify export` writes: loads it strictly, and compares logits with `rectify predict`.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 safetensors
    make build && python bench/peers/exchange.py [PHOTOGRAPH.jpg ...]

Trains each model for one step on the demo's digits, in a temporary folder, and prints the relative distance of logits; then that of
whole photographs where some are named.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from parity import swap

ROOT = pathlib.Path(__file__).parents[2]
RECTIFY = ROOT / "target/release/rectify"
SMALL = dict(img_size=32, patch_size=4)
CASES = [
    ("vit_tiny_patch16_224", "gelu", "crrelu", SMALL, ["patch_size=4"]),
    ("deit_tiny_distilled_patch16_224", "gelu", "gelu", SMALL, ["patch_size=4"]),
    ("deit3_small_patch16_224", "gelu", "gelu", SMALL, ["patch_size=4"]),
    ("swin_tiny_patch4_window7_224", "gelu", "gelu", dict(**SMALL, window_size=4), ["window_size=4"]),
    ("tnt_s_patch16_224", "gelu", "gelu", dict(**SMALL, first_stride=1), ["patch_size=4"]),
    ("resnet18", "relu", "relu", {}, []),
    ("regnety_160", "relu", "relu", {}, []),
]


def rectify(*words):
    done = subprocess.run([RECTIFY, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def distance(folder, image, name, own, activation, arguments, settings):
    run, file = folder / name, folder / f"{name}.safetensors"
    sets = [f"model.{key}" for key in [f"name={name}", "image_size=32", f"activation={activation}", *settings]]
    sets += [f"data.path={folder / 'digits'}", "schedule.max_steps=1", "train.batch_size=8", "eval.every_epochs=0"]
    config = folder / "start.toml"
    config.write_text("data.path = 'x'\nmodel.name = 'x'\n")
    words = [word for one in sets for word in ("--set", one)]
    rectify("train", config, "--nproc", 1, "--run-dir", run, *words)
    rectify("export", run, file)
    said = json.loads(rectify("predict", "--weights", file, "--json", image))["logits"]
    model = timm.create_model(name, num_classes=10, **arguments)
    swap(model, own, activation)
    model.load_state_dict(load_file(file), strict=True)
    pixels = np.asarray(Image.open(image).convert("RGB"), dtype=np.float64) / 255
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        found = model.eval()(torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None])[0]
    said = torch.tensor(said)
    return ((found - said).norm() / said.norm()).item()


def of_photographs(folder, images):
    """The largest distance over whole photographs, resized and cropped by either side for timm's own ViT-Ti at 224."""
    name, file = "vit_tiny_patch16_224", folder / "timm.safetensors"
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    save_file(model.state_dict(), file)
    said = rectify("predict", "--model", name, "--weights", file, "--json", *images)
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    worst = 0.0
    for line, image in zip(said.splitlines(), images):
        with torch.no_grad():
            found = model(transform(Image.open(image).convert("RGB"))[None])[0]
        worst = max(worst, ((found - torch.tensor(json.loads(line)["logits"])).norm() / found.norm()).item())
    return worst


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rectify("data", "sample", folder / "digits")
        image = folder / "digit.png"
        Image.open(sorted((folder / "digits/val/3").iterdir())[0]).convert("RGB").save(image)
        for case in CASES:
            print(f"{case[0]:<34} {case[2]:<7} {distance(folder, image, *case):.1e}", flush=True)
        if sys.argv[1:]:
            print(f"{len(sys.argv) - 1} photographs, the worst {of_photographs(folder, sys.argv[1:]):19.1e}")


if __name__ == "__main__":
    main()
