#!/usr/bin/env python3
"""Rectify's training step against PyTorch's: images/s of whole steps, in turn.

Every side trains the same model with CRReLU (case `*-gelu`: GELU on both sides) on the same shape of noise: forward, cross-entropy, backward,
AdamW. Peers (step_peer.py): timm's model run eagerly and by torch.compile, in bf16 under autocast. A side is a process that stays alive:
ours and one peer at a time take their steps in rounds; the side that has no turn waits for its next line. A side warms up while all
others wait: nothing disturbs the measurements by which torch.compile chooses kernels. A ratio is the median over rounds of ours over theirs
in the same round, so a load that comes and goes meets both. Figures are written as soon as a peer is done; a side that fails or takes
longer than `--limit` for an answer is left out, with the reason.

Peers come from PyPI into an environment outside the checkout (`RECTIFY_STEP_PEERS`, default ~/.cache/rectify/peers).
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rectify"
PEERS = ["eager", "compile"]
PACKAGES = ["torch==2.11.0", "timm==1.0.31", "setuptools"]
# Seconds within which a side has to answer.
LIMIT_S = 600


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained. Peers do not read `cuda_graph` and `attention`, keys of our [train]."""

    model: str
    batch: int
    precision: str
    activation: str = "crrelu"
    cuda_graph: bool = True
    attention: str | None = None


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
DEIT = Case("deit_small_patch16_224", 256, "bf16", "gelu")
GPU_CASES = {
    "vit_tiny-bf16-cuda": Case("vit_tiny_patch16_224", 256, "bf16"),
    "vit_tiny-bf16-cuda-gelu": Case("vit_tiny_patch16_224", 256, "bf16", "gelu"),
    "deit_small-bf16-cuda": dataclasses.replace(DEIT, activation="crrelu"),
    "deit_small-bf16-cuda-gelu": DEIT,
    "swin_tiny-bf16-cuda": Case("swin_tiny_patch4_window7_224", 256, "bf16"),
    "deit_small-fp32-cuda-gelu": dataclasses.replace(DEIT, precision="f32"),
    # Ours alone: the other attention, and the same without a graph.
    "deit_small-bf16-cuda-gelu-flash": dataclasses.replace(DEIT, attention="flash"),
    "deit_small-bf16-cuda-gelu-cudnn": dataclasses.replace(DEIT, attention="cudnn"),
    "deit_small-bf16-cuda-gelu-flash-nograph": dataclasses.replace(DEIT, attention="flash", cuda_graph=False),
    "deit_small-bf16-cuda-gelu-cudnn-nograph": dataclasses.replace(DEIT, attention="cudnn", cuda_graph=False),
}
ALL_CASES = {**CASES, **GPU_CASES}
# The model of --tiny: keys of our config, which are timm's arguments too except for `image_size`.
TINY_MODEL, TINY_BATCH = "vit_tiny_patch16_224", 4
TINY = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


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
    """A process that answers each line with a measured round, as JSON. It starts at its first round."""

    def __init__(self, command, threads, errors, limit_s=LIMIT_S):
        self.command, self.threads, self.errors, self.limit_s = command, threads, errors, limit_s
        self.process, self.answers = None, queue.Queue()

    def start(self):
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONWARNINGS": "ignore"}
        with self.errors.open("w") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            # A group of its own: torch.compile has processes that must end with it.
            self.process = subprocess.Popen(self.command, text=True, env=environment, start_new_session=True, **pipes)
        threading.Thread(target=self.listen, args=[self.process.stdout], daemon=True).start()

    def listen(self, lines):
        with lines:
            for line in lines:
                self.answers.put(line)
        self.answers.put("")

    def measure(self):
        self.ask()
        return self.answer()

    def ask(self):
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will be missing

    def answer(self):
        try:
            said = self.answers.get(timeout=self.limit_s)
        except queue.Empty:
            self.kill()
            raise LeftOut(f"no answer within {self.limit_s:.0f} s") from None
        try:
            return json.loads(said)
        except ValueError:
            self.kill()
            words = self.errors.read_text().strip().splitlines() or [said.strip() or f"ended with {self.process.returncode}"]
            raise LeftOut(words[-1][:200]) from None

    def end(self):
        if self.process is None:
            return
        try:
            self.process.stdin.close()
            self.process.wait(60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self):
        """Ends the process at once, with those that it started."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


def command_of(who, case, arguments, folder, python):
    words, device = ["--steps", str(arguments.steps)], getattr(arguments, "device", "cpu")
    tiny = getattr(arguments, "tiny", False)
    if tiny:
        case = dataclasses.replace(case, model=TINY_MODEL, batch=TINY_BATCH)
    if who == "ours":
        config = folder / "case.toml"
        shape = "".join(f"{key} = {value}\n" for key, value in TINY.items()) if tiny else ""
        attention = f'attention = "{case.attention}"\n' if case.attention else ""
        config.write_text(
            f'name = "bench"\n[data]\npath = "none"\n[model]\nname = "{case.model}"\nactivation = "{case.activation}"\n{shape}'
            f'[train]\nbatch_size = {case.batch}\nprecision = "{case.precision}"\nthreads = {arguments.threads}\ndevice = "{device}"\n'
            f'cuda_graph = {"true" if case.cuda_graph and (tiny or device == "cuda") else "false"}\n{attention}'
            "[loss]\nsmoothing = 0.0\n"
        )
        return [str(arguments.program), "bench", str(config), "--each-line", *words]
    what = ["--model", case.model, "--batch", str(case.batch), "--precision", case.precision, "--activation", case.activation]
    small = ["--shape", json.dumps(TINY)] if tiny else []
    return [python, str(HERE / "step_peer.py"), who, "--device", device, *what, *small, "--threads", str(arguments.threads), *words]


def compare(name, arguments, python):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        command = lambda who: command_of(who, ALL_CASES[name], arguments, folder, python)
        sides = {
            who: Side(command(who), arguments.threads, folder / f"{who}.err", arguments.limit) for who in ["ours", *arguments.peers]
        }
        take_turns(name, "step", sides, arguments)


def take_turns(name, bench, sides, arguments):
    """Rounds of the first side, ours, with each of the others in turn, or alone if there are none.

    Prints a table, and writes a line of the results for each peer as soon as it has a figure.
    """
    print(f"\n{name:40}{'images/s':>10}{'ours is':>10}{'peak MiB':>10}{'faults a step':>15}", flush=True)
    ours, *peers = sides
    try:
        sides[ours].measure()  # to warm up
        for peer in peers:
            take_turns_with(peer, name, bench, sides, arguments)
            sides[peer].end()
        if not peers:
            rounds = [sides[ours].measure() for _ in range(arguments.rounds)]
            figure(name, bench, rounds, arguments)
    except LeftOut as why:
        leave_out(name, bench, None, why, arguments)
    except BaseException:  # such as Ctrl-C: do not wait for a round to end
        for side in sides.values():
            getattr(side, "kill", side.end)()
        raise
    for side in sides.values():
        side.end()


def take_turns_with(peer, name, bench, sides, arguments):
    """Rounds of ours and of a peer. A peer that fails is left out; ours raises LeftOut."""
    ours, both = next(iter(sides)), []
    try:
        sides[peer].measure()  # to warm up
    except LeftOut as why:
        return leave_out(name, bench, peer, why, arguments)
    for _ in range(arguments.rounds):
        first = sides[ours].measure()
        try:
            both.append((first, sides[peer].measure()))
        except LeftOut as why:
            return leave_out(name, bench, peer, why, arguments)
    figure(name, bench, [first for first, _ in both], arguments, peer, [second for _, second in both])


def leave_out(name, bench, peer, why, arguments):
    """Says why a peer, or ours (None) and with it the whole case, has no figure."""
    print(f"  {peer or 'ours':38}  left out: {why}", flush=True)
    line = {"bench": bench, "case": name, "peer": peer, "left_out": str(why)}
    write([{key: value for key, value in line.items() if value is not None}], arguments.results)


def figure(name, bench, ours, arguments, peer=None, theirs=()):
    """Prints what rounds of ours and of a peer came to, or of ours alone, and writes it."""
    median = lambda rounds, key: statistics.median(found[key] for found in rounds)
    show = lambda who, rounds, ratio: print(
        f"  {who:38}{median(rounds, 'images_per_second'):10.2f}{ratio:>10}{rounds[-1]['peak_memory_mib'] or 0:10.0f}"
        f"{median(rounds, 'page_faults_per_step'):15.0f}", flush=True,
    )
    show("ours", ours, "")
    last = ours[-1]
    graph = {"cuda_graph": state_of(last["cuda_graph"])} if "cuda_graph" in last else {}
    rate = round(median(ours, "images_per_second"), 2)
    line = {"bench": bench, "case": name, "ours": rate, "unit": "images/s", "rounds": len(ours), **graph}
    if peer:
        ratio = statistics.median(a["images_per_second"] / b["images_per_second"] for a, b in zip(ours, theirs))
        show(peer, theirs, f"{ratio:.3f}")
        line |= {"peer": peer, "theirs": round(median(theirs, "images_per_second"), 2), "ratio": round(ratio, 3)}
    phases = ", ".join(f"{key} {1e3 * value:.1f}" for key, value in last["phases"].items() if value > 1e-4)
    print(
        f"  of ours: {100 * median(ours, 'mfu'):.0f} % of its matrix products alone ({last['product_flops_per_second'] / 1e9:.0f} GFLOP/s); "
        f"ms a step: {phases}", flush=True,
    )
    if graph and graph["cuda_graph"] != "yes":
        print(f"  of ours: CUDA graph: {graph['cuda_graph']}", flush=True)
    write([line], arguments.results)


def state_of(graph):
    """A report's `cuda_graph` in words: it is "yes", {"part": why} or {"no": why}."""
    if isinstance(graph, str):
        return graph
    return "; ".join(f"{how}, since {why}" for how, why in graph.items())


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


def names(known, or_none=False):
    def split(text):
        chosen = [] if or_none and text == "none" else text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return chosen

    return split


def main():
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda has torch.compile in its mode max-autotune")
    usual = GPU_CASES if device.parse_known_args()[0].device == "cuda" else CASES
    parser = options(__doc__, ALL_CASES, "step", parents=[device])
    parser.set_defaults(cases=[name for name, case in usual.items() if case.cuda_graph and not case.attention])
    parser.add_argument("--python", help="the interpreter of the peers, where they are installed already")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", type=names(PEERS, or_none=True), default=PEERS, help=f"of {', '.join(PEERS)}; none: ours alone")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="within which a side has to answer")
    parser.add_argument("--tiny", action="store_true", help="a tiny model in each case's place, to try the bench itself")
    arguments = parser.parse_args()
    # End the sides when this bench is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended by SIGTERM"))
    python = arguments.python or (python_of_peers() if arguments.peers else "")
    print(f"{arguments.device}, {arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps; peers: {', '.join(PACKAGES[:2])}")
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine are for guidance only)")
    for name in arguments.cases:
        compare(name, arguments, python)


if __name__ == "__main__":
    main()
