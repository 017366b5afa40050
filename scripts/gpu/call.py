"""What a stage is given: folders, programs, tools, and the trainings that several stages run."""

import dataclasses
import json
import pathlib
import shutil
import sys

import results
from jobs import Job, Jobs

# The python3 that run.sh found; a child's PATH may lead to another one.
PYTHON = sys.executable


def options(**values):
    """Words of a command line, `--key value`; a `_` in a key is a `-`."""
    return [word for key in values for word in (f"--{key.replace('_', '-')}", values[key])]


@dataclasses.dataclass
class Call:
    """What a stage is given."""

    bundle: pathlib.Path
    folder: pathlib.Path  # for its reports
    scratch: pathlib.Path  # for what is not reported
    jobs: Jobs
    facts: dict
    dry: bool

    @property
    def device(self):
        return "cpu" if self.dry else "cuda"

    @property
    def digits(self):
        return self.bundle / "target/digits"

    def program(self, name):
        return self.bundle / "target/release" / name

    def script(self, name):
        return self.bundle / "gpu" / name

    def tool(self, name):
        """The path of an NVIDIA tool, or None if it is missing. A dry run has stand-ins that check
        their arguments.
        """
        return str(self.script(f"fixtures/{name}")) if self.dry else shutil.which(name)

    def train(self, name, config, limit_s, *sets, wrapped=(), environment=None):
        """A training job whose run folder is `name`; only its losses and its speed are used."""
        words = [
            *wrapped,
            self.program("rectify-trainer"),
            "train",
            config,
            "--run-dir",
            self.folder / name,
        ]
        # Nothing but training: no evaluation or checkpoint before the last step, of one image then.
        sets = (
            "eval.every_epochs=0",
            "data.val_subset=1",
            "checkpoint.every_epochs=0",
            "log.progress=false",
            *sets,
        )
        for key in sets:
            words += ["--set", key]
        return Job(
            name,
            words,
            limit_s,
            {**({"OMP_NUM_THREADS": "1"} if self.dry else {}), **(environment or {})},
        )

    def records(self, name):
        metrics = self.folder / name / "metrics.jsonl"
        return results.json_lines(metrics.read_text()) if metrics.exists() else []

    def demo(self):
        """The demo's config and the keys that differ here; a smaller network in a dry run."""
        keys = [f"data.path={self.digits}"]
        return self.bundle / "configs/demo.toml", (
            keys + ["model.embed_dim=32", "model.depth=2"] if self.dry else keys
        )


def recipe_on(call, recipe, data):
    """A recipe of the repository for another image folder, without the sizes it expects of its own
    data.
    """
    text = (call.bundle / "configs" / recipe).read_text()
    lines = [
        line
        for line in text.splitlines()
        if not line.startswith(("expect_", "recipe", "source", "path"))
    ]
    lines.insert(lines.index("[data]") + 1, f'source = "folder"\npath = {json.dumps(str(data))}')
    config = call.folder / recipe
    config.write_text("\n".join(lines) + "\n")
    return config


def tiny(call):
    """A small network and batch in a dry run."""
    small = ["image_size=32", "patch_size=8", "embed_dim=32", "depth=2", "num_heads=2"]
    return (
        [f"model.{key}" for key in small]
        + ["train.batch_size=16", "augment.mix_group=8", "train.precision=f32"]
        if call.dry
        else []
    )
