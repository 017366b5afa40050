#!/usr/bin/env python3
"""Rectify's loader against its peers: images/s, in turn, pinned to cores, page cache warm, 1 and 2 workers.

Every side does the same work on the same JPEG files: decode, random resized crop to 224 (scale 0.08 to 1), flip,
normalise to float32 in channel-first order, batches of 64; in the case deit-aug-1w with DeiT's RandAugment and random
erasing as well (loader_deit.py). Each round runs ours and every peer one after the other.
Cores below the number of workers mean that something else ran: then trust images a core-second more than images/s.

DATA is a folder with train/<class>/*.JPEG, of which only these are read; without it, images are made (loader_images.py).
Peers (loader_peers.py) come from PyPI into an environment outside the checkout (`RECTIFY_PEERS`, default
~/.cache/rectify/loader-peers); SPDL needs ffmpeg's libraries too (Debian 12: libavfilter8 and libavdevice59). A peer that does not run, or that does
other work, is left out and named.
"""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import loader_deit

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rectify"
PEERS = ["dali", "torchvision-pil", "torchvision-io", "simplejpeg", "spdl", "timm"]
PACKAGES = ["torch", "torchvision", "nvidia-dali-cuda120", "nvidia-nvimgcodec-cu12", "simplejpeg", "spdl", "opencv-python-headless", "timm", "pillow<13"]
# What libraries must not do: start threads of their own beside the workers that are counted.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is compared: a form of the data for ours, and the peers of a module."""

    workers: int
    form: str = "plain"  # or "packed": what `rectify-data pack` writes
    peers: str = "loader_peers"  # the module
    recipe: str = ""  # the config of ours, where it does more than crop, flip and normalise

    def loaders(self):
        return importlib.import_module(self.peers).PEERS


CASES = {
    "plain-1w": Case(1),
    "plain-2w": Case(2),
    "packed-1w": Case(1, form="packed"),
    "packed-2w": Case(2, form="packed"),
    "deit-aug-1w": Case(1, peers="loader_deit", recipe=loader_deit.RECIPE),
}


class LeftOut(Exception):
    """Why a side has no figure."""


def files_of(data):
    return sorted(str(p) for p in pathlib.Path(data, "train").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))


def check(batch):
    """Refuses a peer whose batches are not what all sides agreed on."""
    import numpy as np

    values = np.asarray(batch.as_array() if hasattr(batch, "as_array") else batch)
    if values.shape != (64, 3, 224, 224) or values.dtype != np.float32:
        sys.exit(f"its batches are {values.shape} of {values.dtype}")
    # (0 - 0.485) / 0.229 = -2.1 is the darkest red, (1 - 0.406) / 0.225 = 2.64 the brightest blue; erased rectangles hold
    # normal noise, of which six deviations are never seen.
    if not (-6 < values.min() < -0.5 and 0.5 < values.max() < 6):
        sys.exit(f"its values lie in {values.min():.2f} to {values.max():.2f}: not normalised")


def processor_seconds():
    """Processor time of this process and its children so far (`man 5 proc`: fields 14 and 15 of stat)."""
    ticks = 0
    for pid in ["self", *pathlib.Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]:
        ticks += sum(map(int, pathlib.Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(batches, seconds):
    """Images a second of an endless iterator of batches, after a warm-up of four; and the cores that it used."""
    for _ in range(4):
        check(next(batches))
    images, start, busy = 0, time.perf_counter(), processor_seconds()
    while time.perf_counter() - start < seconds:
        images += len(next(batches))
    took = time.perf_counter() - start
    return images / took, (processor_seconds() - busy) / took


def measure_peer(arguments):
    """Runs in a process of its own, in the peers' environment."""
    case = CASES[arguments.case]
    batches = case.loaders()[arguments.peer](files_of(arguments.data), case.workers)
    print(*timed(iter(batches), arguments.seconds), flush=True)
    os._exit(0)  # worker processes of an endless loader would be waited for


def python_of_peers():
    """The interpreter of the peers' environment, made at the first call."""
    place = pathlib.Path(os.environ.get("RECTIFY_PEERS") or CACHE / "loader-peers")
    python = place / "bin/python"
    if not (place / "installed").exists():
        print(f"installing the peers into {place}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        for package in PACKAGES:
            if subprocess.run([python, "-m", "pip", "install", "--quiet", package]).returncode:
                print(f"cannot install {package}: its peers are left out", file=sys.stderr)
        (place / "installed").touch()
    return str(python)


def versions(python):
    """Of what was installed, for the head of the table."""
    names = ", ".join(map(repr, [*PACKAGES, "pillow"]))
    code = f"import importlib.metadata as m; print(*[d.name + ' ' + d.version for d in m.distributions() if d.name.lower() in [{names}]], sep=', ')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def made_images(python):
    folder = CACHE / "loader-images"
    if not folder.exists():
        print(f"making images in {folder}, once", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, HERE / "loader_images.py", folder], check=True)
    return str(folder)


def run(command, seconds, cores=None):
    """What a command prints; pinned where cores are named."""
    pin = ["taskset", "-c", cores] if cores else []
    environment = {**os.environ, **ONE_THREAD, "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run([*pin, *command], capture_output=True, text=True, env=environment, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeftOut(f"{type(error).__name__}: {error}"[:200]) from error
    if done.returncode:
        raise LeftOut((done.stderr.strip() or f"ended with {done.returncode}").splitlines()[-1][:200])
    return done.stdout


class Comparison:
    def __init__(self, arguments):
        self.arguments = arguments
        self.python = python_of_peers()
        self.data = arguments.data or made_images(self.python)
        self.program = str(arguments.program or ROOT / "target/release/rectify-data")
        self.scratch = tempfile.TemporaryDirectory()
        self.folders, self.stages = {}, {}

    def folder(self, form):
        """What ours reads: a folder whose two splits are the training images, or its packed form."""
        if form not in self.folders:
            if form == "plain":
                folder = pathlib.Path(self.scratch.name, "plain")
                folder.mkdir()
                for split in ("train", "val"):
                    (folder / split).symlink_to(pathlib.Path(self.data, "train").resolve())
            else:
                if "pack" not in run([self.program, "--help"], 60).split():
                    raise LeftOut("this rectify-data cannot pack")
                folder = pathlib.Path(self.scratch.name, "packed")
                run([self.program, "pack", self.folder("plain"), folder], 3600)
            self.folders[form] = str(folder)
        return self.folders[form]

    def measure(self, who, name):
        """Images a second, and cores used."""
        case, seconds = CASES[name], str(self.arguments.seconds)
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[: case.workers]))
        patience = 120 + 10 * self.arguments.seconds
        if who == "ours":
            command = [self.program, "bench", self.folder(case.form), "--workers", str(case.workers), "--seconds", seconds]
            if case.recipe:
                recipe = pathlib.Path(self.scratch.name, f"{name}.toml")
                recipe.write_text(case.recipe)
                command += ["--recipe", str(recipe)]
            said = run(command, patience, cores).splitlines()
            self.stages[name] = [line.strip() for line in said[1:]]
            cores_used = [line.split()[0] for line in said if line.endswith("cores used")]
            return float(said[0].split()[0]), float(cores_used[0])
        command = [self.python, __file__, self.data, "--case", name, "--peer", who, "--seconds", seconds]
        rate, cores_used = map(float, run(command, patience, cores).split()[-2:])
        return rate, cores_used

    def compare(self, name):
        """Rounds of every side in turn; the lines of the table and of the results."""
        peers = [peer for peer in self.arguments.peers if peer in CASES[name].loaders()]
        figures, lost = {who: [] for who in ["ours", *peers]}, {}
        for _ in range(self.arguments.rounds):
            for who in figures:
                if who in lost:
                    continue
                try:
                    figures[who].append(self.measure(who, name))
                except (LeftOut, ValueError, IndexError) as error:
                    lost[who] = error
                    if who == "ours":
                        print(f"\n{name}: left out: {error}", flush=True)
                        return []
        return self.table(name, figures, lost)

    def table(self, name, figures, lost):
        rates = {who: [rate for rate, _ in rounds] for who, rounds in figures.items()}
        ours = statistics.median(rates["ours"])
        print(f"\n{name:18}{'images/s':>10}{'ours is':>10}{'cores':>8}{'images a core-second':>22}")
        lines = []
        for who in figures:
            if who in lost:
                print(f"  {who:16}  left out: {lost[who]}")
                continue
            theirs = statistics.median(rates[who])
            # Each round against its own neighbours, so that a load that comes and goes meets both sides.
            ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates[who]))
            cores = statistics.median(cores for _, cores in figures[who])
            of_core = statistics.median(rate / max(cores, 0.01) for rate, cores in figures[who])
            shown = "" if who == "ours" else f"{ratio:.2f} x"
            print(f"  {who:16}{theirs:10.0f}{shown:>10}{cores:8.2f}{of_core:22.0f}   rounds {' '.join(f'{r:.0f}' for r in rates[who])}")
            if who != "ours":
                lines.append({
                    "bench": "loader", "case": name, "peer": who, "ours": round(ours, 1), "theirs": round(theirs, 1),
                    "ratio": round(ratio, 3), "unit": "images/s", "rounds": self.arguments.rounds,
                })
        print("  of ours: " + "; ".join(self.stages[name]), flush=True)
        return lines


def compare(arguments):
    comparison = Comparison(arguments)
    files = files_of(comparison.data)
    if not files:
        sys.exit(f"no JPEG files in {comparison.data}/train")
    total = sum(len(pathlib.Path(path).read_bytes()) for path in files)  # warms the page cache
    print(f"{len(files)} images of {total / len(files) / 1e3:.0f} kB in {comparison.data}, {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(f"peers: {versions(comparison.python)}")
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine are for guidance only)")
    for name in arguments.cases:
        lines = comparison.compare(name)
        if arguments.results:
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def names(known):
    def split(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return chosen

    return split


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="a folder with train/<class>/*.JPEG (default: images made for it)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--cases", type=names(CASES), default=list(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--peers", type=names(PEERS), default=PEERS, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--program", help="our binary, in place of target/release/rectify-data")
    results = ROOT / "bench/results/loader.jsonl"
    parser.add_argument("--results", type=pathlib.Path, default=results, help="one JSON line a figure is added here")
    parser.add_argument("--no-results", dest="results", action="store_const", const=None, help="write no figures")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    measure_peer(arguments) if arguments.peer else compare(arguments)


if __name__ == "__main__":
    main()
