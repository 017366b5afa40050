"""Compares the losses of two runs step by step. They may part by rounding, which training makes
larger.
"""

import json

# Of the first step only rounding parts them; later ones part further: (first, any later).
ACROSS_DEVICES = (1e-4, 3e-2)
ON_ONE_DEVICE = (1e-6, 1e-3)


def losses(run):
    """The loss of each step that a run's folder recorded."""
    metrics = run / "metrics.jsonl"
    records = (
        [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    )
    return {record["step"]: record["loss"] for record in records if record["kind"] == "step"}


def compare(one, other, limits):
    """Whether two runs agree, and how far they are apart in words."""
    one, other = losses(one), losses(other)
    if not one or one.keys() != other.keys():
        return False, f"{len(one)} and {len(other)} steps"
    if any(loss is None for loss in (*one.values(), *other.values())):
        return False, "a loss is not finite"
    apart = {step: abs(one[step] - other[step]) / abs(one[step]) for step in one}
    first, farthest = apart[min(apart)], max(apart.values())
    agree = first <= limits[0] and farthest <= limits[1]
    words = f"{len(apart)} losses, the first {first:.1e} and the farthest {farthest:.1e} apart"
    return agree, words if agree else f"{words}; at most {limits[0]:g} and {limits[1]:g} are right"
