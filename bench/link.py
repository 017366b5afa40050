#!/usr/bin/env python3
"""Two ranks on a slow link: how much of the gradients' way Rectify hides behind the backward pass, and DistributedDataParallel beside it.

Each rank of one thread lives in a network namespace of its own; a pair of virtual interfaces joins them, shaped by `tc` to the rate of
the case, so that MPI and gloo talk TCP as between two machines. Needs root, `ip` and `tc`; what it makes it takes away again.

Three sides take turns as in step.py, whose options and environment these are: ours with overlap, ours without, and DDP over gloo.
What is hidden is the time that overlap saves; the most that could be is the shorter of the backward pass and the communication, both
measured without overlap. Where there are as many cores as ranks, all of them compute meanwhile, so that what communication asks of a core
cannot hide: what TCP itself takes of it is measured by `bare_tcp.py`. Figures are of both ranks together.
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import step

RATES = {"1gbit": "1 Gb/s", "10gbit": "10 Gb/s"}
CASES = {
    f"deit_base-batch{batch}-{rate}": (step.Case("deit_base_patch16_224", batch, "f32"), rate)
    for batch in (1, 2)
    for rate in RATES
}
SPACES = {"rectify-a": "10.77.0.1", "rectify-b": "10.77.0.2"}
INTERFACE = "rectify0"
# What either rank sends in a step: a gradient of DeiT-B in f32, half of it twice.
BYTES = 4 * 86_567_656
HERE, THERE = SPACES


def run(*words):
    subprocess.run(words, check=True)


class Link:
    """Two namespaces joined at a rate, for as long as it is entered."""

    def __init__(self, rate):
        self.rate = rate

    def __enter__(self):
        self.clear()
        for space in SPACES:
            run("ip", "netns", "add", space)
        ends = [f"{INTERFACE}a", f"{INTERFACE}b"]
        run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for end, (space, address) in zip(ends, SPACES.items()):
            run("ip", "link", "set", end, "netns", space)
            run("ip", "-n", space, "link", "set", end, "name", INTERFACE)
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", INTERFACE)
            for one in ("lo", INTERFACE):
                run("ip", "-n", space, "link", "set", one, "up")
            shape = ["tbf", "rate", self.rate, "burst", "512kb", "latency", "20ms"]
            run("ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", INTERFACE, "root", *shape)
        return self

    def __exit__(self, *_):
        self.clear()

    def clear(self):
        known = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
        for space in SPACES:
            if space in known:
                run("ip", "netns", "del", space)


def within(space, command):
    """The command as on a machine of its own: with its network and its name."""
    return ["ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", f'hostname {space}; exec "$@"', "sh", *command]


def on_both(command, folder):
    """mpirun with a rank in each namespace. What would be `ssh` enters the other one."""
    agent = folder / "agent"
    agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {THERE} unshare --uts sh -c "hostname {THERE}; $*"\n')
    agent.chmod(0o755)
    hosts = ",".join(f"{address}:1" for address in SPACES.values())
    chosen = {"plm_rsh_agent": str(agent), "btl": "tcp,self", "btl_tcp_if_include": INTERFACE, "oob_tcp_if_include": INTERFACE}
    options = [word for pair in chosen.items() for word in ("--mca", *pair)]
    forwarded = ["-x", "OMP_NUM_THREADS"]
    mpirun = ["mpirun", "-np", "2", "--host", hosts, "--bind-to", "none", "--allow-run-as-root", *options, *forwarded]
    return within(HERE, [*mpirun, *command])


class Gloo(step.Side):
    """A side of two processes, each in its namespace, that find each other as torchrun's would."""

    def __init__(self, command, folder):
        shared = {"MASTER_ADDR": SPACES[HERE], "MASTER_PORT": "29400", "GLOO_SOCKET_IFNAME": INTERFACE, "WORLD_SIZE": "2"}
        ranks = [within(space, ["env", *(f"{key}={value}" for key, value in {**shared, "RANK": rank}.items()), *command])
                 for rank, space in enumerate(SPACES)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.other = subprocess.Popen(ranks[1], env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}, **quiet)
        super().__init__(ranks[0], 1, folder / "ddp.err")

    def end(self):
        super().end()
        try:
            self.other.wait(60)
        except subprocess.TimeoutExpired:
            self.other.kill()


def bare_tcp():
    """Seconds and core seconds of the whole machine that the bytes of a step take by themselves."""
    script = pathlib.Path(__file__).with_name("bare_tcp.py")
    ends = [within(space, ["python3", str(script), str(rank), SPACES[HERE], str(BYTES)]) for rank, space in enumerate(SPACES)]
    other = subprocess.Popen(ends[1])
    try:
        return json.loads(subprocess.run(ends[0], check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout)
    finally:
        other.kill()
        other.wait()


def compare(name, arguments, python):
    case, rate = CASES[name]
    with tempfile.TemporaryDirectory() as scratch, Link(rate):
        folder = pathlib.Path(scratch)
        bare = bare_tcp()
        # The config's batch is that of both ranks.
        ours = step.command_of("ours", step.Case(case.model, 2 * case.batch, case.precision), arguments, folder, python)
        sides = {
            "overlap": step.Side(on_both(ours, folder), 1, folder / "overlap.err"),
            "one after other": step.Side(on_both([*ours, "--set", "parallel.overlap=false"], folder), 1, folder / "plain.err"),
            "ddp-gloo": Gloo(step.command_of("ddp-gloo", case, arguments, folder, python), folder),
        }
        try:
            rounds = [{who: side.measure() for who, side in sides.items()} for _ in range(arguments.rounds + 1)][1:]
        finally:
            for side in sides.values():
                side.end()
    return report(name, case, rounds, bare)


def report(name, case, rounds, bare):
    """Prints what the rounds show; a line of the results for each figure."""
    seconds = lambda figures: case.batch / figures["images_per_second"]
    median = lambda of: statistics.median(of(one) for one in rounds)
    hidden = median(lambda one: seconds(one["one after other"]) - seconds(one["overlap"]))
    backward = median(lambda one: one["one after other"]["phases"]["backward"])
    travel = median(lambda one: one["one after other"]["phases"]["all_reduce"])
    most = min(backward, travel)
    print(f"\n{name}: backward {1e3 * backward:.0f} ms, communication {1e3 * travel:.0f} ms; hidden {1e3 * hidden:.0f} ms, {hidden / most:.2f} of the most")
    print(f"  by bare TCP {1e3 * bare['seconds']:.0f} ms and {1e3 * bare['core_seconds']:.0f} ms of a core, both ranks'")
    for who in rounds[0]:
        print(f"  {who:18}{median(lambda one: 2 * one[who]['images_per_second']):8.2f} images/s", flush=True)
    ours = median(lambda one: 2 * one["overlap"]["images_per_second"])
    lines = [{"bench": "link", "case": name, "peer": "most", "ours": round(hidden, 4), "theirs": round(most, 4), "ratio": round(hidden / most, 3), "unit": "s hidden", "rounds": len(rounds)}]
    # Beside what bare TCP takes of a rank's core.
    idle = min(backward, travel - bare["core_seconds"] / len(SPACES))
    if os.cpu_count() == len(SPACES) and idle > 0:
        print(f"  with a core a rank at most {1e3 * idle:.0f} ms could hide: {hidden / idle:.2f} of that")
        lines.append({"bench": "link", "case": name, "peer": "most with a core a rank", "ours": round(hidden, 4), "theirs": round(idle, 4), "ratio": round(hidden / idle, 3), "unit": "s hidden", "rounds": len(rounds)})
    for peer in ("one after other", "ddp-gloo"):
        theirs = median(lambda one: 2 * one[peer]["images_per_second"])
        ratio = median(lambda one: one["overlap"]["images_per_second"] / one[peer]["images_per_second"])
        lines.append({"bench": "link", "case": name, "peer": peer, "ours": round(ours, 3), "theirs": round(theirs, 3), "ratio": round(ratio, 3), "unit": "images/s", "rounds": len(rounds)})
    return lines


def main():
    parser = step.options(__doc__, CASES, "link", steps=3)
    arguments = parser.parse_args()
    arguments.threads = 1
    if os.getuid() != 0:
        parser.error("network namespaces need root: run this with sudo")
    python = step.python_of_peers()
    print(f"2 ranks of 1 thread, {arguments.rounds} rounds of {arguments.steps} steps; peers: {', '.join(step.PACKAGES[:2])}")
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine are for guidance only)")
    for name in arguments.cases:
        step.write(compare(name, arguments, python), arguments.results)


if __name__ == "__main__":
    main()
