"""The command line of run.sh: stages in order, each under its limit, a line of summary each, and
the archive after each.
"""

import argparse
import datetime
import os
import pathlib
import shutil
import signal
import sys
import time
import traceback

import archive
import cifar10
import machine
from call import Call
from jobs import Jobs
from stages import STAGES

BUNDLE = pathlib.Path(__file__).resolve().parent.parent
# Seconds of a whole call: of stages 0 to 3 alone, or of all.
FIRST_S, ALL_S = 240, 590


class Stopped(BaseException):
    """The call was interrupted: Ctrl-C, SIGTERM, or a closed terminal."""


def stop(number, _):
    # The archive is still to be written; a second signal must not interrupt that.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report:
    """The summary of a call, and its archive."""

    def __init__(self, folder, file):
        self.folder, self.file, self.lines = folder, file, []
        self.archived = True

    def say(self, line):
        """Adds a line to the summary, prints it, and rewrites the archive. A full disk does not end
        the call.
        """
        self.lines.append(line)
        print(line, flush=True)
        try:
            (self.folder / "summary.txt").write_text("\n".join(self.lines) + "\n")
            archive.write(self.folder, self.file)
            self.archived = True
        except OSError as error:
            self.archived = False
            print(
                f"warning: the archive could not be written: {error}", file=sys.stderr, flush=True
            )


def arguments():
    parser = argparse.ArgumentParser(
        prog="./run.sh",
        description="Checks and measures Rectify on this machine's NVIDIA GPU; --dry tries it without one. "
        "One archive is left in the folder $OUT (default: reports), rewritten after every stage.",
        epilog="stages: "
        + ", ".join(f"{stage.number} {stage.title}" for stage in STAGES)
        + ". `./run.sh cifar10 MINUTES` trains ViT-Tiny on CIFAR-10 with CRReLU and with GELU.",
    )
    known = [str(stage.number) for stage in STAGES]
    parser.add_argument(
        "--dry",
        action="store_true",
        help="as far as a machine without a GPU can; all stages where none is named",
    )
    parser.add_argument(
        "--within",
        type=float,
        metavar="SECONDS",
        help=f"of the whole call (default: {FIRST_S} for stages 0 to 3, else {ALL_S})",
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"of {' '.join(known)}, or: cifar10 MINUTES"
    )
    found = parser.parse_args()
    if found.stages[:1] == ["cifar10"]:
        if len(found.stages) != 2 or not found.stages[1].isdigit() or int(found.stages[1]) == 0:
            parser.error("cifar10 takes a whole number of minutes")
        return found
    for word in found.stages:
        if word not in known:
            parser.error(f"there is no stage {word}; stages are {' '.join(known)}")
    if not found.stages and not found.dry:
        parser.error("name the stages: ./run.sh 0 1 2 3, then ./run.sh 1 4 5 6 7 (or --dry)")
    return found


def main():
    asked = arguments()
    chosen = [stage for stage in STAGES if str(stage.number) in asked.stages] or (
        STAGES if not asked.stages else []
    )
    reports = pathlib.Path(os.environ.get("OUT") or "reports").absolute()
    work = BUNDLE / "work"
    begun = time.monotonic()
    for each in SIGNALS:
        signal.signal(each, stop)
    try:
        lock = machine.claim(BUNDLE, reports)
        facts = machine.probe(BUNDLE / "gpu")
        if not asked.dry and (fault := machine.fault(facts)):
            raise machine.Refused(fault)
        machine.unpack(BUNDLE / "programs.tar.gz", BUNDLE / "target")
        machine.link_torch(BUNDLE, facts)
    except machine.Refused as why:
        sys.exit(f"error: {why}")
    except Stopped as signaled:
        sys.exit(128 + signaled.args[0])
    # Compiled kernels travel with the programs; others are added to them.
    os.environ["RECTIFY_KERNEL_CACHE"] = str(BUNDLE / "target/kernels")
    shutil.rmtree(work, ignore_errors=True)
    (work / "reports").mkdir(parents=True)
    numbers = "-".join(str(stage.number) for stage in chosen) or "cifar10"
    now = datetime.datetime.now(datetime.timezone.utc)
    report = Report(
        work / "reports",
        reports / f"gpu-{now:%Y%m%dT%H%M%SZ}-{'dry-' if asked.dry else ''}{numbers}.tar.gz",
    )
    if asked.dry:
        report.say(
            "DRY RUN on the CPU with tiny models and made results: no figure below says anything of a GPU"
        )
    report.say(
        f"commit {(BUNDLE / 'commit').read_text().strip()}, {now:%Y-%m-%d %H:%M} UTC: {machine.words(facts)}"
    )
    if asked.stages[:1] == ["cifar10"]:
        minutes = int(asked.stages[1])
        code = one(
            "cifar10",
            minutes * 90,
            lambda call: cifar10.train(call, minutes),
            report,
            facts,
            asked.dry,
            begun + minutes * 90,
        )
    else:
        seconds = asked.within or (FIRST_S if all(stage.number <= 3 for stage in chosen) else ALL_S)
        code = 0
        for stage in chosen:
            failed = one(
                f"stage {stage.number}, {stage.title}",
                stage.limit_s,
                stage.work,
                report,
                facts,
                asked.dry,
                begun + seconds,
            )
            code = failed if failed > 1 else max(code, failed)
            if failed > 1:
                break
    if report.archived:
        print(f"reports: {report.file}, {report.file.stat().st_size / 1e6:.1f} MB")
    else:
        print(f"the last reports are not in an archive; they lie in {report.folder}")
    shutil.rmtree(work / "scratch", ignore_errors=True)
    lock.close()
    return code if report.archived else max(code, 1)


def one(title, limit_s, work, report, facts, dry, end):
    """Runs one stage and reports its result: 0 if it is fine, 1 if it failed, 128 plus the signal
    that stopped it.
    """
    begun = time.monotonic()
    deadline = min(end, begun + limit_s) if limit_s else end
    folder = report.folder / title.split(",")[0].replace(" ", "-")
    code, jobs = 1, Jobs(folder, deadline)
    try:
        folder.mkdir()
        scratch = BUNDLE / "work/scratch"
        scratch.mkdir(exist_ok=True)
        fine, words = work(Call(BUNDLE, folder, scratch, jobs, facts, dry))
        state, code = ("ok", 0) if fine else ("FAILED", 1)
    except Stopped as signaled:
        state, words, code = (
            "STOPPED",
            signal.Signals(signaled.args[0]).name,
            128 + signaled.args[0],
        )
    except Exception as error:  # the other stages still run
        state, words = "BROKEN", f"{type(error).__name__}: {error}"
        print(traceback.format_exc(), file=sys.stderr)
    jobs.end_all()
    late = ", at its limit" if time.monotonic() >= deadline - 5 and code == 1 else ""
    report.say(f"{title}: {state} in {time.monotonic() - begun:.0f} s{late}: {words}")
    return code


if __name__ == "__main__":
    sys.exit(main())
