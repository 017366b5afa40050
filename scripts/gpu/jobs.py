"""Runs commands side by side under time limits, each with its output in a file; leaves no process
running.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import time
import uuid

# Every process of a call inherits this variable, by which it is found in whatever group or session
# it is.
MARK = "RECTIFY_GPU_RUN"
# `timeout` ends a command even if this program was killed; this program only watches the limit.
GRACE_S = 2


@dataclasses.dataclass
class Job:
    """One command. `limit_s` is its own; the deadline of its stage may cut it shorter."""

    name: str
    command: list
    limit_s: float
    environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Outcome:
    """How a job ended. `code` is None if it reached its limit, or if there was no time left to
    start it.
    """

    code: int | None
    seconds: float
    output: pathlib.Path

    @property
    def ok(self):
        return self.code == 0

    def text(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def fault(self):
        """Why it failed: its last line that begins with "error", or else its last line."""
        said = [line.strip() for line in self.text().splitlines() if line.strip()]
        if self.code is None:
            return (
                f"no end after {self.seconds:.0f} s" if self.seconds else "no time was left for it"
            )
        errors = [line for line in said if line.startswith(("error", "Error"))]
        return (errors or said)[-1][:200] if said else f"ended with {self.code}, without output"


class Jobs:
    """Runs jobs whose output goes to `folder`, until `deadline` (of `time.monotonic`) at the
    latest.
    """

    def __init__(self, folder, deadline):
        self.folder, self.deadline, self.mark = folder, deadline, uuid.uuid4().hex

    def left_s(self):
        return max(0.0, self.deadline - time.monotonic())

    def run(self, *jobs):
        """Starts all jobs at once and waits for them; an Outcome each, in their order."""
        started, outcomes = [], {}
        try:
            for job in jobs:
                limit = min(job.limit_s, self.left_s() - 2 * GRACE_S)
                output = self.folder / f"{job.name}.txt"
                if limit < 1:
                    outcomes[job.name] = Outcome(None, 0, output)
                    continue
                started.append(
                    (job, self._start(job, limit, output), output, time.monotonic(), limit)
                )
            while started:
                for entry in list(started):
                    job, process, output, begun, limit = entry
                    seconds = time.monotonic() - begun
                    late = (
                        seconds > limit + 2 * GRACE_S
                    )  # not even SIGKILL ends it: the driver hangs
                    if process.poll() is None and not late:
                        continue
                    # `timeout` exits with 124, or with 137 after SIGKILL.
                    expired = late or (
                        seconds > limit - 0.5 and process.returncode in (124, 137, -signal.SIGKILL)
                    )
                    outcomes[job.name] = Outcome(
                        None if expired else process.returncode, seconds, output
                    )
                    started.remove(entry)
                time.sleep(0.02)
        finally:
            self.end_all()
        return [outcomes[job.name] for job in jobs]

    def _start(self, job, limit, output):
        environment = {**os.environ, **job.environment, MARK: self.mark}
        command = ["timeout", f"--kill-after={GRACE_S}", f"{limit:.3f}", *map(str, job.command)]
        with output.open("wb") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def end_all(self):
        """Kills all remaining processes. Waits 5 s at most: a driver may hang."""
        until = time.monotonic() + 5
        while (left := marked(self.mark)) and time.monotonic() < until:
            for process in left:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)


def marked(mark):
    """The processes that inherited this mark and still run."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in pathlib.Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass  # it has ended, or belongs to another user
    return found
