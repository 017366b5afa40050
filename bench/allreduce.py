#!/usr/bin/env python3
"""Two ranks of one thread each: Rectify over MPI against PyTorch's DistributedDataParallel over gloo, and against what could be.

The ceiling (`ceiling`) is two of our single ranks that work at once and exchange nothing: they share the memory's bandwidth as
two ranks do. Sides take turns as in step.py, whose options and environment these are; figures are of both ranks together.
"""

import os
import pathlib
import tempfile

import step

CASES = {
    "vit_tiny-fp32": step.Case("vit_tiny_patch16_224", 32, "f32"),
    "vit_tiny-bf16": step.Case("vit_tiny_patch16_224", 32, "bf16"),
}
MPIRUN = ["mpirun", "-np", "2", "--bind-to", "none", "--oversubscribe", *(["--allow-run-as-root"] if os.getuid() == 0 else [])]


class Both:
    """Sides that measure at the same time; images a second of all together."""

    def __init__(self, *sides):
        self.sides = sides

    def measure(self):
        for side in self.sides:
            side.ask()
        found = [side.answer() for side in self.sides]
        return {**found[0], "images_per_second": sum(one["images_per_second"] for one in found)}

    def end(self):
        for side in self.sides:
            side.end()


class Ranks:
    """A side whose figure is that of one of two ranks."""

    def __init__(self, side):
        self.side, self.end = side, side.end

    def measure(self):
        found = self.side.measure()
        return {**found, "images_per_second": 2 * found["images_per_second"]}


def compare(name, arguments, python):
    case = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        whole, alone = folder / "whole", folder / "alone"
        whole.mkdir(), alone.mkdir()
        # The config's batch is that of all ranks.
        two = step.command_of("ours", step.Case(case.model, 2 * case.batch, case.precision), arguments, whole, python)
        one = step.command_of("ours", case, arguments, alone, python)
        sides = {
            "ours": Ranks(step.Side([*MPIRUN, *two], 1, folder / "ours.err")),
            "ceiling": Both(*(step.Side(one, 1, folder / f"alone{rank}.err") for rank in range(2))),
            "ddp-gloo": Ranks(step.Side(step.command_of("ddp-gloo", case, arguments, folder, python), 1, folder / "ddp.err")),
        }
        step.take_turns(name, "allreduce", sides, arguments)


def main():
    parser = step.options(__doc__, CASES, "allreduce")
    arguments = parser.parse_args()
    arguments.threads = 1
    python = step.python_of_peers()
    print(f"2 ranks of 1 thread, {arguments.rounds} rounds of {arguments.steps} steps; peers: {', '.join(step.PACKAGES[:2])}")
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine are for guidance only)")
    for name in arguments.cases:
        compare(name, arguments, python)


if __name__ == "__main__":
    main()
