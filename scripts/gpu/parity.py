#!/usr/bin/env python3
"""Compares the losses of two runs step by step: parity.py RUN RUN. They may part by rounding, which training makes larger."""

import json
import pathlib
import sys

# Of the first step only rounding parts them; later ones part further.
FIRST, LATER = 1e-4, 3e-2


def losses(run):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {record["step"]: record["loss"] for record in records if record["kind"] == "step"}


def main():
    one, other = (losses(run) for run in sys.argv[1:])
    if not one or one.keys() != other.keys():
        sys.exit(f"error: {len(one)} and {len(other)} steps")
    apart = {step: abs(one[step] - other[step]) / abs(one[step]) for step in one}
    first, worst = apart[min(apart)], max(apart.values())
    print(f"losses of {len(apart)} steps: the first differs by {first:.1e}, the farthest by {worst:.1e} of itself")
    if first > FIRST or worst > LATER:
        sys.exit(f"error: more than {FIRST:g} or {LATER:g}")


if __name__ == "__main__":
    main()
