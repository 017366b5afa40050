"""The table of stages; docs/gpu.md says what each one decides."""

import dataclasses
import typing

import checks
import speed


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage; a `limit_s` of None means the rest of the call."""

    number: int
    title: str
    limit_s: float | None
    work: typing.Callable


STAGES = [
    Stage(0, "machine", 40, checks.stage_0),
    Stage(1, "first steps", 60, checks.stage_1),
    Stage(2, "attention", 30, checks.stage_2),
    Stage(3, "kernels", 150, checks.stage_3),
    Stage(4, "ours alone", 120, speed.stage_4),
    Stage(5, "profile", 90, speed.stage_5),
    Stage(6, "feed", 60, speed.stage_6),
    Stage(7, "peers", None, speed.stage_7),
]
