"""ViT-Tiny on CIFAR-10 with CRReLU and with GELU, as many epochs as some minutes allow."""

import json

import machine
import results
from call import recipe_on
from jobs import Job

IMAGES = 50_000
# The rest is left for starting, evaluations, and a loader that may be slower than the steps.
SHARE_OF_STEPS = 0.8


def train(call, minutes):
    packed = call.bundle / "cifar10.tar.xz"
    if not packed.exists():
        return False, "this bundle was made without CIFAR-10: make gpu-bundle CIFAR=cifar10.tar.xz"
    try:
        machine.unpack(packed, call.bundle / "cifar10")
    except machine.Refused as why:
        return False, str(why)
    recipe, data = "vit_tiny_cifar10.toml", call.bundle / "cifar10"
    config = recipe_on(call, recipe, data) if call.dry else call.bundle / "configs" / recipe
    keys = [
        f"data.path={data}",
        f"train.device={call.device}",
        "train.precision=bf16",
        "log.progress=false",
    ]
    if call.dry:
        keys += [
            "train.precision=f32",
            "train.batch_size=16",
            "model.embed_dim=32",
            "model.depth=2",
            "model.num_heads=2",
        ]
    sets = lambda *more: [word for key in [*keys, *more] for word in ("--set", key)]
    trainer = call.program("rectify-trainer")
    (measured,) = call.jobs.run(Job("bench", [trainer, "bench", config, *sets(), "--json"], 120))
    report = results.json_lines(measured.text())
    if not report:
        return False, f"bench: {measured.fault()}"
    rate = report[-1]["images_per_second"]
    epochs = max(1, int(minutes * 60 * SHARE_OF_STEPS / 2 * rate / IMAGES))
    words, fine = [f"{rate:.0f} images/s, {epochs} epochs each"], True
    for activation in ("crrelu", "gelu"):
        schedule = [
            f"schedule.epochs={epochs}",
            f"schedule.warmup_epochs={min(20, epochs / 10)}",
            "checkpoint.every_epochs=0",
        ]
        run = call.folder / activation
        command = [
            trainer,
            "train",
            config,
            "--run-dir",
            run,
            *sets(f"model.activation={activation}", *schedule),
        ]
        (outcome,) = call.jobs.run(Job(activation, command, minutes * 60))
        summary = run / "summary.json"
        fine = fine and outcome.ok
        if not summary.exists():
            words.append(f"{activation}: {outcome.fault()}")
            continue
        found = json.loads(summary.read_text())
        words.append(
            f"{activation}: "
            + ", ".join(
                f"{key} {found[key]:.2f}"
                for key in ("top1", "best_top1", "wall_seconds")
                if found.get(key) is not None
            )
        )
    return fine, "; ".join(words)
