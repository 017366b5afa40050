"""Stages 4 to 7: how fast steps are, alone, by kernel, fed by the loader, and beside peers."""

import results
from call import PYTHON, options, recipe_on, tiny
from jobs import Job

# DeiT-S with either attention, with and without a graph; then CRReLU, other models, and f32.
ALONE = [
    "deit_small-bf16-cuda-gelu-flash",
    "deit_small-bf16-cuda-gelu-cudnn",
    "deit_small-bf16-cuda-gelu-flash-nograph",
    "deit_small-bf16-cuda-gelu-cudnn-nograph",
    "deit_small-bf16-cuda",
    "vit_tiny-bf16-cuda",
    "swin_tiny-bf16-cuda",
    "deit_small-fp32-cuda-gelu",
]


def step_bench(call, name, cases, peers, limit_s, side_limit_s, rounds):
    """A run of bench/step.py, whose figures go to NAME.jsonl."""
    what = options(
        device=call.device,
        cases=",".join(cases),
        peers=peers,
        python=PYTHON,
        program=call.program("rectify-trainer"),
        results=call.folder / f"{name}.jsonl",
        limit=int(side_limit_s),
    )
    size = options(rounds=rounds, steps=20)
    if call.dry:
        size = ["--tiny", *options(rounds=1, steps=1, threads=1)]
    return Job(name, [PYTHON, call.bundle / "bench/step.py", *what, *size], limit_s)


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
    return whole and (
        call.dry or all(line.get("cuda_graph") in (None, "yes") for line in lines)
    ), "; ".join(words)


# Steps of the profiled trainings: enough for one whole step. ncu takes milliseconds per kernel.
BY_NCU, BY_CUPTI = 2, 3


def stage_5(call):
    """Every kernel of one eager step."""
    config = recipe_on(call, "deit_small.toml", call.digits)
    keys = ["train.batch_size=256", "train.precision=bf16", f"train.device={call.device}"]
    keys += ["augment.erase=0.0", "ema.decay=0.0", "log.every_steps=1", *tiny(call)]
    copy_speed, words = (None, []) if call.dry else copied(call)
    kernels, said = by_ncu(call, config, keys)
    words.append(said)
    (call.folder / "kernels.txt").write_text(results.kernel_table(kernels, copy_speed))
    traced = []
    if call.dry or not kernels:
        traced, said = by_cupti(call, config, keys)
        words.append(said)
        (call.folder / "traced.txt").write_text(results.kernel_table(traced))
    return bool(kernels or traced), "; ".join(words)


def copied(call):
    """The bytes that a copy on the GPU reads and writes a second, and the same in words."""
    (outcome,) = call.jobs.run(Job("copy", [PYTHON, call.script("probe.py"), "--copy"], 20))
    facts = results.json_lines(outcome.text())
    speed = facts[-1].get("copy_bytes_per_second") if facts else None
    return speed, [f"copy: {speed / 1e9:.0f} GB/s" if speed else f"copy: {outcome.fault()}"]


def by_ncu(call, config, keys):
    """The kernels of a step as Nsight Compute measures them, and what to say of them."""
    ncu, log = call.tool("ncu"), call.folder / "ncu.csv"
    if not ncu:
        return [], "no ncu"
    how = options(
        page="raw",
        print_units="base",
        metrics=",".join(results.METRICS),
        clock_control="none",
        cache_control="none",
        target_processes="all",
        log_file=log,
    )
    keys = [*keys, f"schedule.max_steps={BY_NCU}"]
    (outcome,) = call.jobs.run(call.train("ncu", config, 60, *keys, wrapped=[ncu, "--csv", *how]))
    text = log.read_text(errors="replace") if log.exists() else ""
    kernels = results.last_step(results.kernels_of_ncu(text), BY_NCU)
    if not kernels:
        return [], f"ncu: {results.ncu_fault(text) or outcome.fault()}"
    return kernels, f"by ncu: {results.kernel_words(kernels)}"


def by_cupti(call, config, keys):
    """The same as CUPTI's records say it, without bandwidth; a dry run reads made records."""
    written = call.folder / "kernel_times.csv"
    inject = {
        "CUDA_INJECTION64_PATH": str(call.program("libkernel_times.so")),
        "RECTIFY_KERNEL_TIMES": str(written),
    }
    keys = [*keys, f"schedule.max_steps={BY_CUPTI}"]
    (outcome,) = call.jobs.run(call.train("traced", config, 25, *keys, environment=inject))
    records = call.script("fixtures/kernel_times.csv") if call.dry else written
    text = records.read_text(errors="replace") if records.exists() else ""
    kernels = results.last_step(results.kernels_of_trace(text), BY_CUPTI)
    if not kernels:
        return [], f"CUPTI: no whole step ({outcome.fault()})"
    return kernels, f"by CUPTI: {results.kernel_words(kernels)}"


FED_BATCH = 256


def stage_6(call):
    """The loader alone, and training from it with DeiT's augmentation, with and without erasing."""
    data, batch = call.scratch / "photographs", 16 if call.dry else FED_BATCH
    distinct, classes, of_class = (2, 2, 16) if call.dry else (48, 100, 40)
    numbers = [str(number) for number in (distinct, classes, of_class)]
    (made,) = call.jobs.run(
        Job("photographs", [PYTHON, call.script("photographs.py"), data, *numbers], 20)
    )
    if not made.ok:
        return False, f"no images: {made.fault()}"
    config = recipe_on(call, "deit_small.toml", data)
    keys = [
        f"train.batch_size={batch}",
        "train.precision=bf16",
        "train.cuda_graph=true",
        f"log.every_steps={1 if call.dry else 5}",
    ]
    keys += [
        f"train.device={call.device}",
        f"schedule.max_steps={5 if call.dry else 150}",
        *tiny(call),
    ]
    seconds = "0.5" if call.dry else "4"
    loader = Job(
        "loader",
        [
            call.program("rectify-data"),
            "bench",
            data,
            "--recipe",
            config,
            "--seconds",
            seconds,
            "--readers",
            "2",
            "--json",
        ],
        12,
    )
    erasing, plain = call.train("erasing", config, 22, *keys), call.train(
        "plain", config, 22, *keys, "augment.erase=0.0"
    )
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
        words.append(
            f"{job.name}: {rate:.0f} images/s{short}"
            if rate
            else f"{job.name}: FAILED: {outcome.fault()}"
        )
    return fine, "; ".join(words)


def stage_7(call):
    """Peers in turn with ours; eager first, since torch.compile takes minutes to choose kernels."""
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
        (outcome,) = call.jobs.run(
            step_bench(call, name, [case], peer, left, max(10, left - 15), 5)
        )
        lines = figures(call, name)
        fine = fine and any("ratio" in line or (call.dry and "left_out" in line) for line in lines)
        words += results.speeds(lines) or [f"{case} against {peer}: {outcome.fault()}"]
    return fine, "; ".join(words)
