"""What each stage does, and what it says in its line of the summary. docs/gpu.md has the table of stages."""

import dataclasses
import json
import pathlib
import shutil
import sys

import machine
import parity
import results
from jobs import Job, Jobs

# The python3 that run.sh found, whatever PATH says to a child.
PYTHON = sys.executable


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
        """A tool of NVIDIA's, or None where this machine has none. A dry run has stand-ins, which check how they are called."""
        return str(self.script(f"fixtures/{name}")) if self.dry else shutil.which(name)

    def train(self, name, config, limit_s, *sets, wrapped=(), environment=None):
        """A training into the folder `name`, of which only the loss and the speed matter."""
        words = [*wrapped, self.program("rectify-trainer"), "train", config, "--run-dir", self.folder / name]
        # Nothing but training: no evaluation or checkpoint before the last step, of one image then.
        sets = ("eval.every_epochs=0", "data.val_subset=1", "checkpoint.every_epochs=0", "log.progress=false", *sets)
        for key in sets:
            words += ["--set", key]
        return Job(name, words, limit_s, {**({"OMP_NUM_THREADS": "1"} if self.dry else {}), **(environment or {})})

    def records(self, name):
        metrics = self.folder / name / "metrics.jsonl"
        return results.json_lines(metrics.read_text()) if metrics.exists() else []

    def demo(self):
        """The demo's config and the keys that differ here; a smaller network in a dry run."""
        keys = [f"data.path={self.digits}"]
        return self.bundle / "configs/demo.toml", keys + ["model.embed_dim=32", "model.depth=2"] if self.dry else keys


def stage_0(call):
    """Machine, driver, torch, doctor."""
    smi = call.tool("nvidia-smi")
    jobs = [Job("doctor", [call.program("rectify"), "doctor", "--json"], 20)]
    if smi:
        jobs.append(Job("nvidia-smi", [smi, "--query-gpu=name,memory.total,driver_version,clocks.max.sm,pcie.link.gen.max", "--format=csv"], 20))
    doctor, *rest = call.jobs.run(*jobs)
    (call.folder / "machine.json").write_text(json.dumps(call.facts, indent=1) + "\n")
    (call.folder / "cpu.txt").write_text(pathlib.Path("/proc/cpuinfo").read_text()[:4000])
    words = [machine.words(call.facts)]
    gpus = rest[0].text().strip().splitlines()[1:] if rest and rest[0].ok else []
    words.append(f"nvidia-smi: {gpus[0]}" if gpus else "no nvidia-smi")
    try:
        findings = json.loads(doctor.text())["findings"]
    except (ValueError, KeyError):
        return False, "; ".join([*words, f"doctor: {doctor.fault()}"])
    worse = [f"{finding['part']} {finding['state']}" for finding in findings if finding["state"] not in ("ok", "absent")]
    absent = [finding["part"] for finding in findings if finding["state"] == "absent"]
    words.append("doctor: " + (", ".join(worse) if worse else f"{len(findings) - len(absent)} ok, absent: {', '.join(absent) or 'none'}"))
    return doctor.ok and not call.facts.get("error") or call.dry, "; ".join(words)


# What the trainer's log says when it has captured a part of a step.
CAPTURED = "replayed as a CUDA graph"


def stage_1(call):
    """A few bf16 steps of a small ViT, eager and by CUDA graphs; what fails runs once more, launch by launch."""
    config, keys = call.demo()
    keys = [*keys, f"train.device={call.device}", f"train.precision={'f32' if call.dry else 'bf16'}", "log.every_steps=1"]
    # Three steps before the capture, in one of their own, and three replays.
    runs = {"eager": ["schedule.max_steps=3"], "graph": ["schedule.max_steps=7", "train.cuda_graph=true"]}
    words, fine = [], True
    for name, more in runs.items():
        (outcome,) = call.jobs.run(call.train(name, config, 25, *keys, *more))
        losses = parity.losses(call.folder / name)
        if outcome.ok and losses and None not in losses.values():
            first, last = losses[min(losses)], losses[max(losses)]
            words.append(f"{name}: {len(losses)} steps, loss {first:.3f} to {last:.3f}")
        else:
            fine = False
            why = outcome.fault() if not outcome.ok else "a loss is not finite"
            words.append(f"{name}: FAILED after {len(losses)} steps: {why}")
            again = call.train(f"{name}-blocking", config, 25, *keys, *more, environment={"CUDA_LAUNCH_BLOCKING": "1"})
            (outcome,) = call.jobs.run(again)
            words.append(f"with CUDA_LAUNCH_BLOCKING=1: {'no failure' if outcome.ok else outcome.fault()}")
    captured = captured_parts(call.folder / "graph")
    words.append(f"{captured} of 2 parts captured")
    return fine and (call.dry or captured == 2), "; ".join(words)


def captured_parts(run):
    """How many parts of a step this run captured, by its log."""
    logs = list(run.glob("logs/*.log"))
    return sum(log.read_text(errors="replace").count(CAPTURED) for log in logs)


def stage_2(call):
    """Attention of this torch against f64."""
    if not call.facts.get("torch"):  # a dry run without torch
        lines = results.json_lines(call.script("fixtures/attention.jsonl").read_text())
        fine, words = results.attention(lines)
        return fine, f"made results, as there is no torch here: {words}"
    (outcome,) = call.jobs.run(Job("attention", [PYTHON, call.script("attention.py"), call.device], 28))
    fine, words = results.attention(results.json_lines(outcome.text()))
    return fine and outcome.ok, words if outcome.ok else f"{words}; {outcome.fault()}"


def stage_3(call):
    """Kernels, NCCL, losses and the sanitizer, side by side."""
    config, keys = call.demo()
    keys = [*keys, "train.precision=f32", "log.every_steps=1", f"schedule.max_steps={4 if call.dry else 40}"]
    on_device, sanitizer = {"RECTIFY_TEST_DEVICE": call.device}, call.tool("compute-sanitizer")
    programs = sorted({"fused", "nccl"} | {path.name.removeprefix("test-") for path in call.program(".").glob("test-*")})
    # Its tests need a GPU, hence are ignored elsewhere; a dry run lists them.
    words_of = {"nccl": ["--ignored", *(["--list"] if call.dry else [])]}
    jobs = [
        Job(name, [call.program(f"test-{name}"), *words_of.get(name, []), "--test-threads", "1"], 140, on_device) for name in programs
    ]
    jobs += [
        call.train("parity-cpu", config, 100, *keys, "train.device=cpu"),
        call.train("parity-gpu", config, 100, *keys, f"train.device={call.device}"),
        call.train("parity-graph", config, 100, *keys, f"train.device={call.device}", "train.cuda_graph=true"),
    ]
    tools = ["racecheck", "memcheck"] if sanitizer else []
    for tool in tools:
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", call.program("test-fused"), "norm::", "--test-threads", "1"]
        jobs.append(Job(tool, command, 140, on_device))
    outcomes = dict(zip((job.name for job in jobs), call.jobs.run(*jobs)))
    read = lambda name: results.listed_tests if call.dry and name in words_of else results.tests
    verdicts = {name: read(name)(outcomes[name].text()) for name in programs}
    across = [call.folder / name for name in ("parity-cpu", "parity-gpu", "parity-graph")]
    verdicts["CPU to GPU"] = parity.compare(across[0], across[1], parity.ACROSS_DEVICES)
    verdicts["eager to graph"] = parity.compare(across[1], across[2], parity.ON_ONE_DEVICE)
    verdicts |= {tool: results.sanitizer(outcomes[tool].text()) for tool in tools}
    words = []
    for name, (fine, said) in verdicts.items():
        late = name in outcomes and outcomes[name].code is None
        words.append(f"{name}: {'FAILED: ' if fine is False else ''}{said}{', at its limit' if late else ''}")
    if not sanitizer:
        words.append("no compute-sanitizer")
    for name in across:
        if not outcomes[name.name].ok:
            words.append(f"{name.name}: {outcomes[name.name].fault()}")
    return False not in [fine for fine, _ in verdicts.values()], "; ".join(words)


# Ours alone: DeiT-S with both kinds of attention, with a graph and without, then other models, another activation, another precision.
ALONE = [
    "deit_small-bf16-cuda-gelu-flash", "deit_small-bf16-cuda-gelu-cudnn", "deit_small-bf16-cuda-gelu-flash-nograph",
    "deit_small-bf16-cuda-gelu-cudnn-nograph", "deit_small-bf16-cuda", "vit_tiny-bf16-cuda", "swin_tiny-bf16-cuda",
    "deit_small-fp32-cuda-gelu",
]


def step_bench(call, name, cases, peers, limit_s, side_limit_s, rounds):
    """A run of bench/step.py, whose figures go to NAME.jsonl."""
    words = [PYTHON, call.bundle / "bench/step.py", "--device", call.device, "--python", PYTHON, "--cases", ",".join(cases)]
    words += ["--peers", peers, "--program", call.program("rectify-trainer"), "--results", call.folder / f"{name}.jsonl"]
    size = ["--tiny", "--rounds", "1", "--steps", "1", "--threads", "1"] if call.dry else ["--rounds", str(rounds), "--steps", "20"]
    return Job(name, [*words, *size, "--limit", str(int(side_limit_s))], limit_s)


def figures(call, name):
    written = call.folder / f"{name}.jsonl"
    return results.json_lines(written.read_text()) if written.exists() else []


def stage_4(call):
    """Our steps alone."""
    (outcome,) = call.jobs.run(step_bench(call, "alone", ALONE, "none", 118, 30, 2))
    lines = figures(call, "alone")
    words = results.speeds(lines)
    lacking = [case for case in ALONE if case not in [line["case"] for line in lines]]
    if lacking:
        words.append(f"not reached: {', '.join(lacking)} ({outcome.fault()})")
    whole = not lacking and not any("left_out" in line for line in lines)
    return whole and (call.dry or all(line.get("cuda_graph") in (None, "yes") for line in lines)), "; ".join(words)


# Steps of the profiled trainings: a whole step lies between two of their kernels. ncu takes milliseconds a kernel.
BY_NCU, BY_CUPTI = 2, 3


def stage_5(call):
    """Every kernel of one eager step."""
    config = recipe_on(call, "deit_small.toml", call.digits)
    keys = ["train.batch_size=256", "train.precision=bf16", "ema.decay=0.0", "augment.erase=0.0", "log.every_steps=1"]
    keys += [f"train.device={call.device}", *tiny(call)]
    speed, kernels, words = None, [], []
    if not call.dry:
        (copied,) = call.jobs.run(Job("copy", [PYTHON, call.script("probe.py"), "--copy"], 20))
        facts = results.json_lines(copied.text())
        speed = facts[-1].get("copy_bytes_per_second") if facts else None
        words.append(f"a copy reaches {speed / 1e9:.0f} GB/s" if speed else f"copy: {copied.fault()}")
    if ncu := call.tool("ncu"):
        log = call.folder / "ncu.csv"
        wrapped = [ncu, "--csv", "--page", "raw", "--print-units", "base", "--metrics", ",".join(results.METRICS)]
        wrapped += ["--clock-control", "none", "--cache-control", "none", "--target-processes", "all", "--log-file", log]
        (outcome,) = call.jobs.run(call.train("ncu", config, 60, *keys, f"schedule.max_steps={BY_NCU}", wrapped=wrapped))
        text = log.read_text(errors="replace") if log.exists() else ""
        kernels = results.last_step(results.kernels_of_ncu(text), BY_NCU)
        if not kernels:
            words.append(f"ncu: {results.ncu_fault(text) or outcome.fault()}")
    else:
        words.append("no ncu")
    if not kernels or call.dry:
        trace = call.script("fixtures/kernel_times.csv") if call.dry else call.folder / "kernel_times.csv"
        inject = {"CUDA_INJECTION64_PATH": call.program("libkernel_times.so"), "RECTIFY_KERNEL_TIMES": call.folder / "kernel_times.csv"}
        inject = {key: str(value) for key, value in inject.items()}
        (outcome,) = call.jobs.run(call.train("traced", config, 25, *keys, f"schedule.max_steps={BY_CUPTI}", environment=inject))
        traced = results.kernels_of_trace(trace.read_text(errors="replace")) if trace.exists() else []
        traced = results.last_step(traced, BY_CUPTI)
        words.append(f"by CUPTI: {results.kernel_words(traced)}" if traced else f"CUPTI: no whole step ({outcome.fault()})")
        (call.folder / "traced.txt").write_text(results.kernel_table(traced))
        if not kernels:
            return bool(traced), "; ".join(words)
    (call.folder / "kernels.txt").write_text(results.kernel_table(kernels, speed))
    return True, "; ".join([*words, f"by ncu: {results.kernel_words(kernels)}"])


def recipe_on(call, recipe, data):
    """A config of the repository for a folder of other images: without what it expects of its own."""
    text = (call.bundle / "configs" / recipe).read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("expect_", "recipe", "source", "path"))]
    lines.insert(lines.index("[data]") + 1, f"source = \"folder\"\npath = {json.dumps(str(data))}")
    config = call.folder / recipe
    config.write_text("\n".join(lines) + "\n")
    return config


def tiny(call):
    """A small network and batch in a dry run."""
    small = ["image_size=32", "patch_size=8", "embed_dim=32", "depth=2", "num_heads=2"]
    return [f"model.{key}" for key in small] + ["train.batch_size=16", "augment.mix_group=8", "train.precision=f32"] if call.dry else []


FED_BATCH = 256


def stage_6(call):
    """Training by the loader with DeiT's augmentation, with erasing and without; and the loader alone."""
    data, batch = call.scratch / "photographs", 16 if call.dry else FED_BATCH
    distinct, classes, of_class = (2, 2, 16) if call.dry else (48, 100, 40)
    numbers = [str(number) for number in (distinct, classes, of_class)]
    (made,) = call.jobs.run(Job("photographs", [PYTHON, call.script("photographs.py"), data, *numbers], 20))
    if not made.ok:
        return False, f"no images: {made.fault()}"
    config = recipe_on(call, "deit_small.toml", data)
    keys = [f"train.batch_size={batch}", "train.precision=bf16", "train.cuda_graph=true", f"log.every_steps={1 if call.dry else 5}"]
    keys += [f"train.device={call.device}", f"schedule.max_steps={5 if call.dry else 150}", *tiny(call)]
    seconds = "0.5" if call.dry else "4"
    loader = Job("loader", [call.program("rectify-data"), "bench", data, "--recipe", config, "--seconds", seconds, "--readers", "2", "--json"], 12)
    erasing, plain = call.train("erasing", config, 22, *keys), call.train("plain", config, 22, *keys, "augment.erase=0.0")
    words, fine = [], True
    # One after the other: each needs every core.
    for job in (loader, erasing, plain):
        (outcome,) = call.jobs.run(job)
        if job is loader:
            rate = (results.json_lines(outcome.text()) or [{}])[-1].get("images_per_second")
        else:
            rate = results.training_speed(call.records(job.name), batch)
        fine = fine and rate is not None
        short = "" if outcome.ok else f" (stopped: {outcome.fault()})"
        words.append(f"{job.name}: {rate:.0f} images/s{short}" if rate else f"{job.name}: FAILED: {outcome.fault()}")
    return fine, "; ".join(words)


def stage_7(call):
    """Peers in turn with ours: eager first, since torch.compile takes minutes to choose its kernels."""
    words, fine = [], True
    if not call.facts.get("timm") and not call.dry:
        return True, "no timm in python3, and the peers are its models"
    for name, case, peer, most_s in (
        ("eager", "deit_small-bf16-cuda-gelu", "eager", 90),
        ("compiled", "deit_small-bf16-cuda-gelu", "compile", 600),
        ("compiled-crrelu", "deit_small-bf16-cuda", "compile", 600),
    ):
        left = min(most_s, call.jobs.left_s() - 5)
        if left < 20 and not call.dry:
            words.append(f"{case} against {peer}: no time was left")
            continue
        (outcome,) = call.jobs.run(step_bench(call, name, [case], peer, left, max(10, left - 15), 5))
        lines = figures(call, name)
        fine = fine and any("ratio" in line or (call.dry and "left_out" in line) for line in lines)
        words += results.speeds(lines) or [f"{case} against {peer}: {outcome.fault()}"]
    return fine, "; ".join(words)


@dataclasses.dataclass(frozen=True)
class Stage:
    """`limit_s` None: what is left of the call."""

    number: int
    title: str
    limit_s: float | None
    work: object


STAGES = [
    Stage(0, "machine", 40, stage_0),
    Stage(1, "first steps", 60, stage_1),
    Stage(2, "attention", 30, stage_2),
    Stage(3, "kernels", 150, stage_3),
    Stage(4, "ours alone", 120, stage_4),
    Stage(5, "profile", 90, stage_5),
    Stage(6, "feed", 60, stage_6),
    Stage(7, "peers", None, stage_7),
]
