#!/usr/bin/env python3
"""Computes with timm the figures that crates/models/tests/parity.rs compares with: logits and gradients of whole models.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31
    python bench/peers/parity.py NAME…      # or --all, or --list

Writes crates/models/tests/fixtures/parity/NAME.json for each. A name is that of a model of the table, or one with a
variant behind it, as in vit_tiny_patch16_224-32px. Everything is float64, and every tensor is filled by a formula (`fill`),
so that no weights need to be stored.
"""

import argparse
import json
import math
import pathlib

import timm
import torch
from timm.layers import DropPath
from timm.models.metaformer import StarReLU
from torch import nn

FIXTURES = pathlib.Path(__file__).parents[2] / "crates/models/tests/fixtures/parity"
IMAGES, LOGITS, DISTILLED, MASKS, BUFFERS = 1000, 2000, 3000, 4000, 5000  # seeds of what is no parameter
BATCH = 2
KEPT_LOGITS, KEPT_GRADIENTS = 16, 8  # how many values are stored beside the norm of all


class Corrected(nn.Module):
    """f(x) + e * x * exp(-x^2 / 2) for a function f of PyTorch's, composed from its own operations."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.epsilon = nn.Parameter(torch.full((1,), 0.01))

    def forward(self, x):
        return self.base(x) + self.epsilon * x * torch.exp(-x * x / 2)


class CRReLU(Corrected):
    def __init__(self):
        super().__init__(nn.functional.relu)


class CRGELU(Corrected):
    def __init__(self):
        super().__init__(nn.functional.gelu)


class CRSiLU(Corrected):
    def __init__(self):
        super().__init__(nn.functional.silu)


class CRMish(Corrected):
    def __init__(self):
        super().__init__(nn.functional.mish)


ACTIVATIONS = {
    "identity": nn.Identity,
    "gelu": nn.GELU,
    "crrelu": CRReLU,
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "celu": nn.CELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "starrelu": StarReLU,
    "crgelu": CRGELU,
    "crsilu": CRSiLU,
    "crmish": CRMish,
}


def fill(shape, seed, middle, reach):
    """Element i is middle + reach * (2u - 1), u = ((2654435761 i + 40503 i^2 + 2246822519 seed) mod 2^32) / 2^32."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    u = ((2654435761 * i + 40503 * i * i + 2246822519 * seed) % 2**32).double() / 2**32
    return (middle + reach * (2 * u - 1)).reshape(shape)


def learned_by(model, activation):
    """The parameters of the modules that are this activation."""
    return {f"{name}.{own}" for name, module in model.named_modules() if isinstance(module, ACTIVATIONS[activation])
            for own, _ in module.named_parameters(recurse=False)}


def fill_model(model, activation):
    """Fills parameters, seeds counting them in order from 1, and running statistics.

    What an activation learns is its initial value (rounded, since it was made in float32) +- 0.05; a scale is 1 +- 0.2, but
    0.3 +- 0.06 where it is the last of a bottleneck, lest rounding grow from block to block; any other vector +- 0.2; tokens and position embeddings (3 dimensions) +- 0.5; weights have the variance 1 / inputs.
    """
    learned = learned_by(model, activation)
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(model.named_parameters(), 1):
            shape = parameter.shape
            if name in learned:
                parameter.copy_(torch.round(parameter, decimals=6) + fill(shape, seed, 0.0, 0.05))
            elif name.endswith(("bn3.weight", "conv3.bn.weight")):
                parameter.copy_(fill(shape, seed, 0.3, 0.06))
            elif len(shape) == 1:
                parameter.copy_(fill(shape, seed, 1.0 if name.endswith(("weight", "gamma")) else 0.0, 0.2))
            elif len(shape) == 3:
                parameter.copy_(fill(shape, seed, 0.0, 0.5))
            else:
                parameter.copy_(fill(shape, seed, 0.0, math.sqrt(3 / math.prod(shape[1:]))))
        statistics = [one for one in model.named_buffers() if one[0].endswith(("running_mean", "running_var"))]
        for seed, (name, buffer) in enumerate(statistics, BUFFERS):
            buffer.copy_(fill(buffer.shape, seed, 1.0 if name.endswith("var") else 0.0, 0.2))


def swap(model, own, activation):
    """Puts `activation` in the place of every module that is the model's own."""
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            if type(child) is ACTIVATIONS[own]:
                setattr(module, child_name, ACTIVATIONS[activation]())


def resnet_probed(model):
    return ["conv1.weight", "layer2.1.conv1.weight", f"layer4.{len(model.layer4) - 1}.conv2.weight"]


def regnet_probed(model):
    return ["stem.conv.weight", "s3.b2.conv2.conv.weight", "s3.b2.se.fc2.weight", "s4.b1.conv3.conv.weight"]


class Drop(nn.Module):
    """Drop-path with given masks, one a call."""

    def __init__(self, masks):
        super().__init__()
        self.masks = list(masks)

    def forward(self, x):
        return x * self.masks.pop(0).view(-1, *[1] * (x.ndim - 1))


def mask_rows(count):
    """For each drop-path and image 0 or 2, as if half of all were left out."""
    return 2 * (fill((count, BATCH), MASKS, 0.0, 1.0) > 0).double()


def tnt_drops(model):
    """timm's pixels are a batch of all patches of all images: rows are all patches, for attention and MLP, and then one each."""
    patches = model.num_patches
    for block, rows in zip(model.blocks, mask_rows(len(model.blocks) * (2 * patches + 2)).split(2 * patches + 2)):
        if isinstance(block.drop_path, DropPath):
            within = [rows[branch * patches:][:patches].T.reshape(-1) for branch in (0, 1)]
            block.drop_path = Drop([*within, *rows[2 * patches:]])


def drops(model):
    """Rows for attention and MLP of each block."""
    branches = [(block, name) for block in model.modules() for name in ("drop_path1", "drop_path2") if hasattr(block, name)]
    for (block, name), row in zip(branches, mask_rows(len(branches))):
        if isinstance(getattr(block, name), DropPath):
            setattr(block, name, Drop([row]))


def resnet_drops(model):
    """One row a block."""
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
    for block, row in zip(blocks, mask_rows(len(blocks))):
        block.drop_path = block.drop_path and Drop([row])


def blocks(model):
    return f"blocks.{len(model.blocks) // 2}", f"blocks.{len(model.blocks) - 1}"


def vit_probed(model):
    """The parameters whose gradients are stored: an early, a middle and a late one."""
    middle, last = blocks(model)
    return ["patch_embed.proj.weight", f"{middle}.attn.qkv.weight", f"{last}.mlp.fc2.weight"]


def tnt_probed(model):
    middle, last = blocks(model)
    return ["pixel_embed.proj.weight", f"{middle}.attn_in.qk.weight", f"{last}.mlp.fc2.weight"]


def swin_probed(model):
    """As those of a ViT, with a table of relative positions, in a block that shifts its windows, and a merging of patches."""
    middle = f"layers.2.blocks.{len(model.layers[2].blocks) // 2}"
    return ["patch_embed.proj.weight", "layers.0.blocks.1.attn.relative_position_bias_table",
            "layers.1.downsample.reduction.weight", f"{middle}.attn.qkv.weight", "layers.3.blocks.1.mlp.fc2.weight"]


def sincos_positions(model):
    """big_vision's posemb_sincos_2d in the place of learned positions: (1, L, D)."""
    rows, columns = model.patch_embed.grid_size
    y, x = torch.meshgrid(torch.arange(rows).double(), torch.arange(columns).double(), indexing="ij")
    quarter = model.embed_dim // 4
    omega = 10000.0 ** -(torch.arange(quarter).double() / (quarter - 1))
    y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
    del model.pos_embed
    model.register_buffer("pos_embed", torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)[None])


class Case:
    """A model: timm's name and arguments, what says the same in our config, its own activation, what to probe."""

    def __init__(self, model, probed, own="gelu", variant="", arguments={}, settings=[], num_classes=1000, size=None,
                 drops=None, change=None, activations=None):
        self.model, self.probed, self.own = model, probed, own
        self.name = f"{model}-{variant}" if variant else model
        self.arguments, self.settings, self.num_classes = arguments, settings, num_classes
        self.size = size or int(model[-3:])
        self.activations = list(activations or [own, "crrelu"])
        self.change = change  # makes of timm's model what its arguments cannot say
        self.drops = drops  # puts masks by the formula in the place of those that timm draws


def cifar(model, probed, variant="32px", arguments={}, settings=["model.patch_size=4"], **more):
    arguments = {"img_size": 32, "patch_size": 4, **arguments}
    settings = ["model.image_size=32", *settings]
    return Case(model, probed, variant=variant, arguments=arguments, settings=settings, num_classes=10, size=32, **more)


VITS = [
    f"{family}_{size}{kind}_patch16_224"
    for family, kind in (("vit", ""), ("deit", ""), ("deit", "_distilled"))
    for size in ("tiny", "small", "base")
]
VITS += [f"vit_{size}_patch16_384" for size in ("tiny", "small", "base")]
VITS += [f"vit_large_patch16_{size}" for size in (224, 384)]
VITS += ["deit_base_patch16_384", "deit_base_distilled_patch16_384"]
CASES = [Case(name, vit_probed) for name in VITS]
CASES += [Case(name, vit_probed) for name in ("deit3_small_patch16_224", "deit3_base_patch16_224")]
CASES += [cifar(name, vit_probed) for name in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224")]
# Of big_vision's plain ViT: the mean of all patches, positions by sines and cosines, no class token.
MEAN, SINCOS = dict(global_pool="avg"), dict(no_embed_class=True)
PLAIN = dict(**MEAN, **SINCOS, class_token=False)
CASES += [
    Case("vit_small_patch16_224", vit_probed, variant="plain", arguments=PLAIN, change=sincos_positions,
         settings=["model.pool='avg'", "model.positions='sincos2d'", "model.class_token=false"]),
    cifar("vit_tiny_patch16_224", vit_probed, "32px-mean", MEAN, ["model.patch_size=4", "model.pool='avg'"]),
    cifar("vit_tiny_patch16_224", vit_probed, "32px-sincos2d", SINCOS,
          ["model.patch_size=4", "model.positions='sincos2d'"], change=sincos_positions),
]
CASES += [Case("tnt_s_patch16_224", tnt_probed)]
SMALL_TNT = dict(img_size=32, patch_size=4, first_stride=1)
SETTINGS = ["model.image_size=32", "model.patch_size=4"]
CASES += [
    Case("tnt_s_patch16_224", tnt_probed, variant="32px", arguments=SMALL_TNT, settings=SETTINGS, num_classes=10, size=32),
    Case("tnt_s_patch16_224", tnt_probed, variant="32px-drop-path", arguments=dict(**SMALL_TNT, drop_path_rate=0.5),
         settings=[*SETTINGS, "model.drop_path=0.5"], num_classes=10, size=32, drops=tnt_drops),
]
SMOOTH_TOO = ["relu", "crrelu", "silu"]
CASES += [Case(name, resnet_probed, own="relu", size=224, activations=SMOOTH_TOO) for name in ("resnet18", "resnet50")]
CASES += [Case("resnet18", resnet_probed, own="relu", variant="64px-drop-path", arguments=dict(drop_path_rate=0.5),
               settings=["model.image_size=64", "model.drop_path=0.5"], num_classes=10, size=64, drops=resnet_drops)]
CASES += [Case("regnety_160", regnet_probed, own="relu", size=224, activations=SMOOTH_TOO)]
CASES += [Case("regnety_160", regnet_probed, own="relu", variant="64px", settings=["model.image_size=64"], num_classes=10,
               size=64, activations=["silu"])]
CASES[0].activations += [name for name in ACTIVATIONS if name not in CASES[0].activations]


SWINS = [f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base")]
# timm's own have a drop-path rate of 0.1 where nothing is said.
CASES += [Case(name, swin_probed, arguments=dict(drop_path_rate=0.0)) for name in SWINS]


def small_swin(variant, patch_size, window_size, arguments={}, settings=[], **more):
    """At 32 pixels, where the stages have 32 / patch_size rows, a half, a quarter and an eighth of them."""
    arguments = {"patch_size": patch_size, "window_size": window_size, "drop_path_rate": 0.0, **arguments}
    settings = [f"model.patch_size={patch_size}", f"model.window_size={window_size}", *settings]
    return cifar(SWINS[0], swin_probed, variant, arguments, settings, **more)


CASES += [
    small_swin("32px", 4, 4),
    small_swin("32px-patch2", 2, 4),
    small_swin("32px-padded", 2, 3),
    small_swin("32px-drop-path", 4, 4, dict(drop_path_rate=0.5), ["model.drop_path=0.5"], drops=drops),
]


def kept(tensor, count):
    tensor = tensor.detach()
    return {"norm": tensor.norm().item(), "first": tensor.flatten()[:count].tolist()}


def figures(case, activation):
    model = timm.create_model(case.model, num_classes=case.num_classes, **case.arguments)
    swap(model, case.own, activation)
    if case.change:
        case.change(model)
    fill_model(model.double(), activation)
    images = fill((BATCH, 3, case.size, case.size), IMAGES, 0.0, 2.0)
    model.eval()
    with torch.no_grad():
        evaluated = model(images)
    model.train()
    if sum(parameter.numel() for parameter in model.parameters()) > 2e8:
        model.set_grad_checkpointing()  # what lies between the blocks is computed twice rather than kept
    if case.drops:
        case.drops(model)
    if hasattr(model, "set_distilled_training"):
        model.set_distilled_training(True)
    outputs = model(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    seeds = (LOGITS, DISTILLED)
    sum((output * fill(output.shape, seed, 0.0, 1.0)).sum() for output, seed in zip(outputs, seeds)).backward()
    parameters = dict(model.named_parameters())
    learned = [parameter.grad for name, parameter in parameters.items() if name in learned_by(model, activation)]
    means = [one for one in model.named_buffers() if one[0].endswith(("running_mean", "running_var"))]
    return {
        "activation": activation,
        "evaluated": kept(evaluated, KEPT_LOGITS),
        "trained": [kept(output, KEPT_LOGITS) for output in outputs],
        "gradients": {name: kept(parameters[name].grad, KEPT_GRADIENTS)
                      for name in case.probed(model)},
        "activation_gradients": kept(torch.cat(learned), None) if learned else None,
        "running_means": {name: kept(mean, KEPT_GRADIENTS) for name, mean in means[:2] + means[-2:]},
    }


def main():
    parser = argparse.ArgumentParser(description="Writes the figures that the parity test compares with.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every case; otherwise those named")
    parser.add_argument("--list", action="store_true", help="print the names")
    asked = parser.parse_args()
    if asked.list:
        return print("\n".join(case.name for case in CASES))
    unknown = set(asked.names) - {case.name for case in CASES}
    if unknown or not (asked.names or asked.all):
        parser.error(f"no such case: {', '.join(sorted(unknown))}" if unknown else "name cases, or say --all")
    for case in CASES:
        if not asked.all and case.name not in asked.names:
            continue
        print(case.name, flush=True)
        rows = [json.dumps(figures(case, activation)) for activation in case.activations]
        head = {
            "made_with": {"timm": timm.__version__, "torch": torch.__version__.split("+")[0]},
            "model": case.model,
            "settings": case.settings,
            "classes": case.num_classes,
        }
        text = json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(rows) + "\n]}\n"
        FIXTURES.mkdir(parents=True, exist_ok=True)
        (FIXTURES / f"{case.name}.json").write_text(text)


if __name__ == "__main__":
    main()
