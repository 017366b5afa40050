"""Stages 0 to 3: whether this machine, a step, attention and every kernel are right."""

import json
import pathlib

import machine
import parity
import results
from call import PYTHON, options
from jobs import Job


def stage_0(call):
    """Machine, driver, torch, doctor."""
    smi = call.tool("nvidia-smi")
    jobs = [Job("doctor", [call.program("rectify"), "doctor", "--json"], 20)]
    if smi:
        asked = "name,memory.total,driver_version,clocks.max.sm,pcie.link.gen.max"
        jobs.append(Job("nvidia-smi", [smi, f"--query-gpu={asked}", "--format=csv"], 20))
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
    worse = [
        f"{finding['part']} {finding['state']}"
        for finding in findings
        if finding["state"] not in ("ok", "absent")
    ]
    absent = [finding["part"] for finding in findings if finding["state"] == "absent"]
    words.append(
        "doctor: "
        + (
            ", ".join(worse)
            if worse
            else f"{len(findings) - len(absent)} ok, absent: {', '.join(absent) or 'none'}"
        )
    )
    if call.dry:
        # Only what a machine without a GPU lacks may be missing.
        return not [part for part in worse if not part.startswith(OF_A_GPU)], "; ".join(words)
    return doctor.ok and not call.facts.get("error"), "; ".join(words)


# The parts of doctor's findings that need a GPU, or the libraries for one.
OF_A_GPU = ("GPUs", "GPU kernels", "libtorch CUDA", "NCCL")

# What the trainer's log says when it has captured a part of a step.
CAPTURED = "replayed as a CUDA graph"


def stage_1(call):
    """A few bf16 steps of a small ViT, eager and by CUDA graphs; what fails runs once more, launch
    by launch.
    """
    config, keys = call.demo()
    keys = [
        *keys,
        f"train.device={call.device}",
        f"train.precision={'f32' if call.dry else 'bf16'}",
        "log.every_steps=1",
    ]
    # Three eager steps, the step that is captured, and three replays.
    runs = {
        "eager": ["schedule.max_steps=3"],
        "graph": ["schedule.max_steps=7", "train.cuda_graph=true"],
    }
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
            again = call.train(
                f"{name}-blocking",
                config,
                25,
                *keys,
                *more,
                environment={"CUDA_LAUNCH_BLOCKING": "1"},
            )
            (outcome,) = call.jobs.run(again)
            words.append(
                f"with CUDA_LAUNCH_BLOCKING=1: {'no failure' if outcome.ok else outcome.fault()}"
            )
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
    (outcome,) = call.jobs.run(
        Job("attention", [PYTHON, call.script("attention.py"), call.device], 28)
    )
    fine, words = results.attention(results.json_lines(outcome.text()))
    return fine and outcome.ok, words if outcome.ok else f"{words}; {outcome.fault()}"


def stage_3(call):
    """Kernels, NCCL, losses and the sanitizer, side by side."""
    config, keys = call.demo()
    keys = [
        *keys,
        "train.precision=f32",
        "log.every_steps=1",
        f"schedule.max_steps={4 if call.dry else 40}",
    ]
    on_device, sanitizer = {"RECTIFY_TEST_DEVICE": call.device}, call.tool("compute-sanitizer")
    programs = sorted(
        {"fused", "nccl"}
        | {path.name.removeprefix("test-") for path in call.program(".").glob("test-*")}
    )
    # NCCL's tests are `#[ignore]`d because they need a GPU; a dry run lists them.
    words_of = {"nccl": ["--ignored", *(["--list"] if call.dry else [])]}
    one_by_one = options(test_threads=1)
    jobs = []
    for name in programs:
        command = [call.program(f"test-{name}"), *words_of.get(name, []), *one_by_one]
        jobs.append(Job(name, command, 140, on_device))
    for name, where in {
        "parity-cpu": ["train.device=cpu"],
        "parity-gpu": [f"train.device={call.device}"],
        "parity-graph": [f"train.device={call.device}", "train.cuda_graph=true"],
    }.items():
        jobs.append(call.train(name, config, 100, *keys, *where))
    tools = ["racecheck", "memcheck"] if sanitizer else []
    for tool in tools:
        norms = [call.program("test-fused"), "norm::", *one_by_one]
        command = [sanitizer, *options(tool=tool, error_exitcode=9), *norms]
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
        failed = "FAILED: " if fine is False else ""
        late = ", at its limit" if name in outcomes and outcomes[name].code is None else ""
        words.append(f"{name}: {failed}{said}{late}")
    if not sanitizer:
        words.append("no compute-sanitizer")
    for name in across:
        if not outcomes[name.name].ok:
            words.append(f"{name.name}: {outcomes[name.name].fault()}")
    return False not in [fine for fine, _ in verdicts.values()], "; ".join(words)
