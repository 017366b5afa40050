#!/usr/bin/env python3
"""Rectify's training step against PyTorch's: images/s of whole steps, in turn.

Every side trains the same model with CRReLU (case `*-gelu`: GELU on both sides) on the same shape of noise: forward, cross-entropy, backward,
AdamW. Peers (step_peer.py): timm's model run eagerly and by torch.compile, in bf16 under autocast. All sides are processes that
stay alive: in each round each of them takes its steps, one side after the other, while the rest wait for their next line.
A ratio is the median over rounds of ours over theirs in the same round, so a load that comes and goes meets both.

Peers come from PyPI into an environment outside the checkout (`RECTIFY_STEP_PEERS`, default ~/.cache/rectify/peers).
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rectify"
PEERS = ["eager", "compile"]
PACKAGES = ["torch==2.11.0", "timm==1.0.31", "setuptools"]


@dataclasses.dataclass(frozen=True)
class Case:
    model: str
    batch: int
    precision: str
    activation: str = "crrelu"


CASES = {
    "vit_tiny-fp32": Case("vit_tiny_patch16_224", 32, "f32"),
    "vit_tiny-bf16": Case("vit_tiny_patch16_224", 32, "bf16"),
    "deit_small-fp32": Case("deit_small_patch16_224", 16, "f32"),
    "deit_small-bf16": Case("deit_small_patch16_224", 16, "bf16"),
    "swin_tiny-fp32": Case("swin_tiny_patch4_window7_224", 16, "f32"),
    "swin_tiny-bf16": Case("swin_tiny_patch4_window7_224", 16, "bf16"),
    "vit_tiny-fp32-gelu": Case("vit_tiny_patch16_224", 32, "f32", "gelu"),
    "vit_tiny-bf16-gelu": Case("vit_tiny_patch16_224", 32, "bf16", "gelu"),
}


# On a GPU (--device cuda), of one rank.
GPU_CASES = {
    "vit_tiny-bf16-cuda": Case("vit_tiny_patch16_224", 256, "bf16"),
    "vit_tiny-bf16-cuda-gelu": Case("vit_tiny_patch16_224", 256, "bf16", "gelu"),
    "deit_small-bf16-cuda": Case("deit_small_patch16_224", 256, "bf16"),
    "swin_tiny-bf16-cuda": Case("swin_tiny_patch4_window7_224", 256, "bf16"),
}


class LeftOut(Exception):
    """Why a side has no figure."""


def python_of_peers():
    """The interpreter of the peers' environment, made at the first call."""
    place = pathlib.Path(os.environ.get("RECTIFY_STEP_PEERS") or CACHE / "peers")
    python = place / "bin/python"
    if not python.exists():
        print(f"installing the peers into {place}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(python)


class Side:
    """A process that measures a round for every line it is given, and answers with a line of JSON."""

    def __init__(self, command, threads, errors):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
        self.errors = errors
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors.open("w")}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def measure(self):
        self.ask()
        return self.answer()

    def ask(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will be missing

    def answer(self):
        said = self.process.stdout.readline()
        if not said.strip():
            self.process.wait()
            words = self.errors.read_text().strip().splitlines() or [f"ended with {self.process.returncode}"]
            raise LeftOut(words[-1][:200])
        return json.loads(said)

    def end(self):
        try:
            self.process.stdin.close()
            self.process.wait(60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()


def command_of(who, case, arguments, folder, python):
    words, device = ["--steps", str(arguments.steps)], getattr(arguments, "device", "cpu")
    if who == "ours":
        config = folder / "case.toml"
        config.write_text(
            f'name = "bench"\n[data]\npath = "none"\n[model]\nname = "{case.model}"\nactivation = "{case.activation}"\n'
            f'[train]\nbatch_size = {case.batch}\nprecision = "{case.precision}"\nthreads = {arguments.threads}\ndevice = "{device}"\n'
            f'cuda_graph = {"true" if device == "cuda" else "false"}\n'
            "[loss]\nsmoothing = 0.0\n"
        )
        return [str(arguments.program), "bench", str(config), "--each-line", *words]
    what = ["--model", case.model, "--batch", str(case.batch), "--precision", case.precision, "--activation", case.activation]
    return [python, str(HERE / "step_peer.py"), who, "--device", device, *what, "--threads", str(arguments.threads), *words]


def compare(name, arguments, python):
    case = {**CASES, **GPU_CASES}[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        sides = {
            who: Side(command_of(who, case, arguments, folder, python), arguments.threads, folder / f"{who}.err")
            for who in ["ours", *arguments.peers]
        }
        return take_turns(name, "step", sides, arguments)


def take_turns(name, bench, sides, arguments):
    """Rounds of every side in turn; prints a table and returns the lines of the results."""
    figures, lost = {}, {}
    # The first round of each is for warming up.
    for turn in range(arguments.rounds + 1):
        for who, side in sides.items():
            if who in lost:
                continue
            try:
                found = side.measure()
            except LeftOut as error:
                lost[who] = error
                continue
            if turn:
                figures.setdefault(who, []).append(found)
    for side in sides.values():
        side.end()
    return table(name, bench, figures, lost, arguments)


def table(name, bench, figures, lost, arguments):
    print(f"\n{name:20}{'images/s':>10}{'ours is':>10}{'peak MiB':>10}{'faults a step':>15}")
    for who, why in lost.items():
        print(f"  {who:18}  left out: {why}")
    if "ours" in lost:
        return []
    median = lambda rounds, key: statistics.median(found[key] for found in rounds)
    lines = []
    for who, rounds in figures.items():
        if who in lost:
            continue
        ratio = statistics.median(a["images_per_second"] / b["images_per_second"] for a, b in zip(figures["ours"], rounds))
        rate, shown = median(rounds, "images_per_second"), "" if who == "ours" else f"{ratio:.2f} x"
        print(f"  {who:18}{rate:10.2f}{shown:>10}{median(rounds, 'peak_memory_mib'):10.0f}{median(rounds, 'page_faults_per_step'):15.0f}")
        if who != "ours":
            lines.append({
                "bench": bench, "case": name, "peer": who, "ours": round(median(figures["ours"], "images_per_second"), 2),
                "theirs": round(rate, 2), "ratio": round(ratio, 3), "unit": "images/s", "rounds": arguments.rounds,
            })
    last = figures["ours"][-1]
    phases = ", ".join(f"{key} {1e3 * value:.0f}" for key, value in last["phases"].items() if value > 1e-4)
    print(f"  of ours: {100 * median(figures['ours'], 'mfu'):.0f} % of its matrix products alone ({last['product_flops_per_second'] / 1e9:.0f} GFLOP/s); ms a step: {phases}", flush=True)
    if isinstance(graph := last.get("cuda_graph"), dict):
        print(f"  of ours: no CUDA graph, since {graph['no']}", flush=True)
    return lines


def write(lines, results):
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        with results.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def options(description, cases, bench, steps=4, parents=()):
    """The options that all of these benches have; a caller may add its own before they are parsed."""
    parser = argparse.ArgumentParser(description=description, parents=parents, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=steps, help="of each side in each round")
    parser.add_argument("--cases", type=names(cases), default=list(cases), help=f"of {', '.join(cases)}")
    parser.add_argument("--program", default=ROOT / "target/release/rectify-trainer", help="our binary")
    results = ROOT / f"bench/results/{bench}.jsonl"
    parser.add_argument("--results", type=pathlib.Path, default=results, help="one JSON line a figure is added here")
    parser.add_argument("--no-results", dest="results", action="store_const", const=None, help="write no figures")
    return parser


def names(known):
    def split(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return chosen

    return split


def main():
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda has cases of its own, with torch.compile in its mode max-autotune")
    cases = GPU_CASES if device.parse_known_args()[0].device == "cuda" else CASES
    parser = options(__doc__, cases, "step", parents=[device])
    parser.add_argument("--python", help="the interpreter of the peers, where they are installed already")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", type=names(PEERS), default=PEERS, help=f"of {', '.join(PEERS)}")
    arguments = parser.parse_args()
    python = arguments.python or python_of_peers()
    print(f"{arguments.device}, {arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps; peers: {', '.join(PACKAGES[:2])}")
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine are for guidance only)")
    for name in arguments.cases:
        write(compare(name, arguments, python), arguments.results)


if __name__ == "__main__":
    main()
