#!/usr/bin/env python3
"""Computes what optimisers, clipping, averaging, losses and schedules of PyTorch and timm do in 20 steps.

Needs PyTorch 2.11.0 and timm 1.0.31; the files name the versions that made them. Run at the repository's root:

    python bench/peers/training.py

writes `trainer/tests/fixtures/updates.json` and `losses.json`, and `crates/plan/tests/fixtures/schedules.json`. The
tests beside them fill the same tensors by the same formulas and compare.
"""

import functools
import json
import math
from pathlib import Path

import timm
import timm.optim.muon
import torch
import torch.nn.functional as F
from timm.data.mixup import mixup_target
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from timm.models.vision_transformer import VisionTransformer
from timm.optim import Lamb, Lion, Muon
from timm.optim._param_groups import param_groups_weight_decay
from timm.optim.muon import _is_suitable_for_muon
from timm.scheduler import CosineLRScheduler, PolyLRScheduler, StepLRScheduler, WSDLRScheduler
from timm.models import model_parameters
from timm.utils import ModelEmaV3, dispatch_clip_grad

torch.set_default_dtype(torch.float64)
ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
WATCHED = ["pos_embed", "blocks.0.attn.qkv.weight", "head.weight"]

# timm orthogonalises in bfloat16, whose sums differ from one processor to the next: here in the kind of the parameters.
timm.optim.muon.zeropower_via_newtonschulz = functools.partial(
    timm.optim.muon.zeropower_via_newtonschulz, dtype=torch.float64
)


def short(number):
    number = number.item() if isinstance(number, torch.Tensor) else number
    return float(f"{number:.10g}")


def numbers(tensor):
    return [short(x) for x in tensor.detach().flatten()]


def small_model():
    """A ViT of width 16 and depth 1. Element i of parameter k starts at 0.5 sin(0.37 i + 1.3 k + 0.2)."""
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=10).double()
    for k, parameter in enumerate(model.parameters()):
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.data = (0.5 * torch.sin(0.37 * i + 1.3 * k + 0.2)).view(parameter.shape)
    return model


def set_gradients(model, step):
    """0.1 cos(0.11 i + 0.7 k + 0.9 step), and a twentieth of the value."""
    for k, parameter in enumerate(model.parameters()):
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        wave = 0.1 * torch.cos(0.11 * i + 0.7 * k + 0.9 * step)
        parameter.grad = wave.view(parameter.shape) + 0.05 * parameter.data


def groups(model, config):
    decay = config["weight_decay"]
    if config.get("decay") == "all":
        return [{"params": list(model.parameters()), "weight_decay": decay}]
    return param_groups_weight_decay(model, decay, no_weight_decay_list=model.no_weight_decay())


def optimizers(model, config):
    """The reference of an `[optimizer]` section."""
    rate, name = config["learning_rate"], config["name"]
    given = {key: config[key] for key in ("betas", "eps", "momentum", "nesterov") if key in config}
    if name == "sgd":
        return [torch.optim.SGD(groups(model, config), lr=rate, **{"momentum": 0.9, **given})]
    if name == "adamw":
        return [torch.optim.AdamW(groups(model, config), lr=rate, **given)]
    if name == "lamb":
        bound = config.get("max_grad_norm", 1.0)
        return [Lamb(groups(model, config), lr=rate, max_grad_norm=bound or None, **given)]
    if name == "lion":
        return [Lion(groups(model, config), lr=rate, **given)]
    if not config.get("nesterov"):
        return [Muon(groups(model, config), lr=rate, **given)]
    # timm pairs Nesterov's momentum with NAdamW; Rectify keeps AdamW for what is no matrix.
    both = []
    for matrices in (True, False):
        part = groups(model, config)
        for group in part:
            group["params"] = [p for p in group["params"] if _is_suitable_for_muon(p) == matrices]
        part = [group for group in part if group["params"]]
        make = Muon if matrices else torch.optim.AdamW
        both.append(make(part, lr=rate, **(given if matrices else {"betas": (0.9, 0.95), "eps": 1e-7})))
    return both


def clip(model, config):
    if config.get("clip_norm"):
        dispatch_clip_grad(model_parameters(model), config["clip_norm"], mode="norm")
    if config.get("clip_value"):
        dispatch_clip_grad(model_parameters(model), config["clip_value"], mode="value")
    if config.get("clip_adaptive"):
        dispatch_clip_grad(model_parameters(model, exclude_head=True), config["clip_adaptive"], mode="agc")


def update_case(title, optimizer, ema=None):
    """20 steps at the learning rate (1 - 0.03 step) of the peak; what is compared, of the average where there is one."""
    model = small_model()
    average = ema and ModelEmaV3(model, decay=ema["decay"], use_warmup=ema.get("warmup", False))
    seen = average.module if ema else model
    steppers, trajectory = optimizers(model, optimizer), []
    for step in range(STEPS):
        set_gradients(model, step)
        clip(model, optimizer)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = optimizer["learning_rate"] * (1 - 0.03 * step)
            stepper.step()
        if ema:
            average.update(model, step=step + 1)
        named = dict(seen.named_parameters())
        trajectory.append([short(named[name].detach().flatten()[named[name].numel() // 2]) for name in WATCHED])
    norms = [short(parameter.detach().norm()) for parameter in seen.parameters()]
    return {"title": title, "optimizer": optimizer, "ema": ema or {}, "trajectory": trajectory, "norms": norms}


def updates():
    sgd = {"name": "sgd", "learning_rate": 0.05, "weight_decay": 0.01}
    adamw = {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.05}
    lamb = {"name": "lamb", "learning_rate": 2e-2, "weight_decay": 0.05}
    muon = {"name": "muon", "learning_rate": 1e-2, "weight_decay": 0.1}
    cases = [
        update_case("sgd", sgd),
        update_case("sgd without momentum", {**sgd, "momentum": 0.0, "decay": "all"}),
        update_case("sgd nesterov", {**sgd, "nesterov": True}),
        update_case("adamw", adamw),
        update_case("adamw, everything decays", {**adamw, "decay": "all", "betas": [0.8, 0.95], "eps": 1e-5}),
        update_case("lamb", lamb),
        update_case("lamb without its bound", {**lamb, "max_grad_norm": 0.0, "decay": "all"}),
        update_case("lion", {"name": "lion", "learning_rate": 1e-3, "weight_decay": 0.5}),
        update_case("muon", muon),
        update_case("muon nesterov", {**muon, "nesterov": True, "decay": "all"}),
        update_case("clipped by norm", {**sgd, "clip_norm": 1.0}),
        update_case("clipped by value", {**sgd, "clip_value": 0.05}),
        update_case("clipped adaptively", {**sgd, "clip_adaptive": 0.02}),
        update_case("average", sgd, {"decay": 0.9}),
        update_case("average with warm-up", adamw, {"decay": 0.8, "warmup": True}),
    ]
    names = [name for name, _ in small_model().named_parameters()]
    return {"names": names, "watched": WATCHED, "cases": cases}


BATCH, CLASSES = 6, 5
LABELS = [3, 0, 4, 1, 1, 2]


def wave(factor, phase):
    i = torch.arange(BATCH * CLASSES, dtype=torch.float64)
    return (2 * torch.sin(factor * i + phase)).view(BATCH, CLASSES)


def loss_case(title, loss, weights=None, distillation=None):
    """20 steps of gradient descent at rate 2 on the logits of one head, or of two where there is a teacher.

    `weights` are those of each image's own label; its partner is the image as far from the other end.
    """
    heads = [wave(0.9, 0.1).requires_grad_(), wave(0.7, 0.5).requires_grad_()]
    teacher = wave(1.3, 0.3)
    labels, smoothing = torch.tensor(LABELS), loss.get("smoothing", 0.0)
    target, own = labels, torch.tensor(weights or [1.0] * BATCH, dtype=torch.float64).unsqueeze(1)
    if weights:
        target = mixup_target(labels, CLASSES, own, smoothing)
    if loss["name"] == "bce":
        base = BinaryCrossEntropy(
            smoothing=smoothing,
            target_threshold=loss.get("target_threshold"),
            sum_classes=loss.get("sum_classes", False),
        )
    else:
        base = SoftTargetCrossEntropy() if weights else functools.partial(F.cross_entropy, label_smoothing=smoothing)
    losses = []
    for _ in range(STEPS):
        value = base(heads[0], target)
        if distillation:
            value = (1 - distillation["alpha"]) * value + distillation["alpha"] * taught(heads[1], teacher, distillation)
        losses.append(short(value))
        value.backward()
        for head in heads:
            if head.grad is not None:
                head.data -= 2 * head.grad
                head.grad = None
    return {
        "title": title, "loss": loss, "weights": weights, "distillation": distillation or {}, "losses": losses,
        "logits": numbers(heads[0]), "taught": numbers(heads[1]),
    }


def taught(logits, teacher, distillation):
    """The formulas of DeiT: cross-entropy with the teacher's class, or tau^2 KL(teacher, student) over all logits."""
    if distillation["kind"] == "hard":
        return F.cross_entropy(logits, teacher.argmax(1))
    tau = distillation.get("tau", 1.0)
    student, teacher = (logits / tau).log_softmax(1), (teacher / tau).log_softmax(1)
    return (teacher.exp() * (teacher - student)).sum() * tau**2 / logits.numel()


def losses():
    mixed = [0.7, 0.2, 1.0, 0.5, 0.9, 0.35]
    cross, bce = {"name": "cross-entropy"}, {"name": "bce"}
    hard, soft = {"kind": "hard", "alpha": 0.5}, {"kind": "soft", "alpha": 0.3, "tau": 3.0}
    cases = [
        loss_case("cross-entropy", cross),
        loss_case("cross-entropy with smoothing", {**cross, "smoothing": 0.1}),
        loss_case("soft targets", {**cross, "smoothing": 0.1}, mixed),
        loss_case("bce", {**bce, "smoothing": 0.1}),
        loss_case("bce of mixed labels", {**bce, "smoothing": 0.1}, mixed),
        loss_case("bce of DeiT III", {**bce, "target_threshold": 0.0}, mixed),
        loss_case("bce summed over classes", {**bce, "target_threshold": 0.2, "sum_classes": True}, mixed),
        loss_case("hard distillation", {**cross, "smoothing": 0.1}, mixed, hard),
        loss_case("soft distillation", cross, None, soft),
    ]
    return {"batch": BATCH, "classes": CLASSES, "labels": LABELS, "cases": cases}


def schedules():
    """1,000 images in batches of 10 for 2 epochs: 200 steps, 20 of them warm-up from 1e-5; peak 0.1, end 1e-3."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    warm = {"warmup_t": 20, "warmup_lr_init": 1e-5, "t_in_epochs": False}
    ends = {"t_initial": 200, "lr_min": 1e-3, "warmup_prefix": False}
    stable = {"t_initial": 180, "lr_min": 1e-3}
    makers = {
        "schedule.name=cosine": lambda o: CosineLRScheduler(o, **ends, **warm),
        "schedule.name=linear": lambda o: PolyLRScheduler(o, power=1.0, **ends, **warm),
        "schedule.name=constant": lambda o: StepLRScheduler(o, decay_t=1, decay_rate=1.0, warmup_prefix=False, **warm),
        "schedule.name=step schedule.decay_epochs=0.35 schedule.decay_rate=0.2": lambda o: StepLRScheduler(
            o, decay_t=35, decay_rate=0.2, warmup_prefix=False, **warm
        ),
        "schedule.name=wsd": lambda o: WSDLRScheduler(o, decay_t=36, decay_fn="1-sqrt", **stable, **warm),
        "schedule.name=wsd schedule.decay_epochs=0.8 schedule.decay_shape=linear": lambda o: WSDLRScheduler(
            o, decay_t=80, decay_fn="linear", **stable, **warm
        ),
    }
    steps = sorted({0, 1, 10, 19, 20, 21, 34, 35, 69, 70, 105, 119, 120, 121, 140, 163, 164, 165, 180, 199, 200, 300})
    curves = {sets: [short(make(optimizer)._get_lr(t)[0]) for t in steps] for sets, make in makers.items()}
    return {"steps": steps, "curves": curves}


def write(path, content):
    versions = {"torch": torch.__version__, "timm": timm.__version__}
    text = json.dumps({"made_by": "bench/peers/training.py", "versions": versions, **content})
    # One case a line, so that a change shows where it is.
    text = text.replace('{"title"', '\n{"title"').replace('"schedule.', '\n"schedule.')
    (ROOT / path).write_text(text + "\n")
    print(path, len(text), "bytes")


if __name__ == "__main__":
    write("trainer/tests/fixtures/updates.json", updates())
    write("trainer/tests/fixtures/losses.json", losses())
    write("crates/plan/tests/fixtures/schedules.json", schedules())
