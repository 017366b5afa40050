#!/usr/bin/env python3
"""Trains models of timm for 30 steps from weights, images and labels by formulas, and writes the loss of every step.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31
    python bench/peers/trajectory.py

writes trainer/tests/fixtures/trajectories.json, with which trainer/tests/trajectories.rs compares. The formulas are those of
parity.py beside this file. AdamW, no drop-path; in float64, and in float32 for information.
"""

import json
import pathlib

import timm
import torch
import torch.nn.functional as F
from timm.optim._param_groups import param_groups_weight_decay

from parity import IMAGES, fill, fill_model, swap

FIXTURE = pathlib.Path(__file__).parents[2] / "trainer/tests/fixtures/trajectories.json"
STEPS, BATCH, CLASSES, SIZE = 30, 2, 10, 32
RATE, DECAY = 1e-3, 0.05

# Title, timm's name and arguments, what says the same in our config, activation.
VIT = (dict(img_size=32, patch_size=4), ["model.image_size=32", "model.patch_size=4"])
SWIN = (dict(img_size=32, patch_size=4, window_size=4, drop_path_rate=0.0),
        ["model.image_size=32", "model.patch_size=4", "model.window_size=4"])
TNT = (dict(img_size=32, patch_size=4, first_stride=1), ["model.image_size=32", "model.patch_size=4"])
CASES = [
    ("vit_tiny_patch16_224", *VIT, "gelu"),
    ("vit_tiny_patch16_224", *VIT, "crrelu"),
    ("deit_tiny_distilled_patch16_224", *VIT, "gelu"),
    ("swin_tiny_patch4_window7_224", *SWIN, "gelu"),
    ("tnt_s_patch16_224", *TNT, "gelu"),
]


def losses(name, arguments, activation, kind):
    model = timm.create_model(name, num_classes=CLASSES, **arguments)
    swap(model, "gelu", activation)
    fill_model(model.double(), activation)
    model = model.to(kind).train()
    groups = param_groups_weight_decay(model, DECAY, no_weight_decay_list=model.no_weight_decay())
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    found = []
    for step in range(STEPS):
        images = fill((BATCH, 3, SIZE, SIZE), IMAGES + step, 0.0, 2.0).to(kind)
        labels = torch.tensor([(7 * step + 3 * image) % CLASSES for image in range(BATCH)])
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    rows = []
    for name, arguments, settings, activation in CASES:
        print(name, activation, flush=True)
        rows.append({
            "model": name,
            "settings": settings,
            "activation": activation,
            "f64": losses(name, arguments, activation, torch.float64),
            "f32": losses(name, arguments, activation, torch.float32),
        })
    head = {"made_with": {"timm": timm.__version__, "torch": torch.__version__.split("+")[0]}}
    lines = ",\n".join(json.dumps(row) for row in rows)
    FIXTURE.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
