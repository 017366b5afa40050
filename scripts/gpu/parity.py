#!/usr/bin/env python3
"""Compares the losses of two runs step by step: parity.py RUN RUN [FIRST LATER]. They may part by rounding, which training makes larger."""

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
    one, other = (losses(run) for run in sys.argv[1:3])
    first_limit, later_limit = map(float, sys.argv[3:5]) if len(sys.argv) > 3 else (FIRST, LATER)
    if not one or one.keys() != other.keys():
        sys.exit(f"error: {len(one)} and {len(other)} steps")
    apart = {step: abs(one[step] - other[step]) / abs(one[step]) for step in one}
    first, worst = apart[min(apart)], max(apart.values())
    print(f"losses of {len(apart)} steps: the first differs by {first:.1e}, the farthest by {worst:.1e} of itself")
    if first > first_limit or worst > later_limit:
        sys.exit(f"error: more than {first_limit:g} or {later_limit:g}")


if __name__ == "__main__":
    main()
