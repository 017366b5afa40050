"""Checks what a call needs: python3's torch, a GPU, the bundle's programs, and room for reports."""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

TORCH = "2.11."
CUDA = "13."
ROOM_BYTES = 200e6
REPORTS_BYTES = 20e6
INSTALL = "`python3 -m pip install torch==2.11.0` brings the one for CUDA 13 on Linux"


class Refused(Exception):
    """Why the call cannot run here, and what to do about it."""


def probe(gpu_folder):
    """What probe.py says of python3."""
    try:
        done = subprocess.run(
            [sys.executable, gpu_folder / "probe.py"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"torch": None, "error": "importing torch took longer than 120 s"}
    except (IndexError, ValueError):
        words = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        return {"torch": None, "error": f"importing torch ended python3: {words[-1]}"}


def fault(facts):
    """What keeps the programs from a GPU here, in words, or None."""
    python, torch, cuda = facts.get("executable", "python3"), facts.get("torch"), facts.get("cuda")
    if torch is None:
        return f"{python} has no torch that can be imported ({facts.get('error')}): {INSTALL}"
    if not torch.startswith(TORCH):
        return (
            f"{python} has torch {torch}; the programs of this bundle are built for 2.11: {INSTALL}"
        )
    if cuda is None:
        return f"{python} has torch {torch}, the wheel for CPUs: {INSTALL}"
    if not cuda.startswith(CUDA):
        return (
            f"{python} has torch {torch}, the wheel for CUDA {cuda}: librectify_cuda.so needs libcudart.so.13, which only "
            f"the wheel +cu130 has; {INSTALL}"
        )
    if not facts.get("gpus"):
        return f"torch {torch} finds no NVIDIA GPU ({facts.get('error', 'none is visible')}); `./run.sh --dry` tries the stages without one"
    if "error" in facts:
        return f"torch {torch} cannot use the {facts['gpus'][0]['name']}: {facts['error']}"
    return None


def words(facts):
    """The machine in half a line."""
    gpus = facts.get("gpus") or []
    seen = f"{len(gpus)} x {gpus[0]['name']} (sm_{gpus[0]['architecture']})" if gpus else "no GPU"
    parts = [seen, f"{len(os.sched_getaffinity(0))} cores", f"torch {facts.get('torch')}"]
    parts += [
        f"{name} {facts[name]}" for name in ("cudnn", "nccl", "triton", "timm") if facts.get(name)
    ]
    return ", ".join(parts)


def claim(folder, reports):
    """Checks that both folders can be written and that no other call uses them. Returns the lock,
    to be kept open.
    """
    for place, bytes_needed in ((folder, ROOM_BYTES), (reports, REPORTS_BYTES)):
        try:
            place.mkdir(parents=True, exist_ok=True)
            trial = place / f".trial-{os.getpid()}"
            trial.write_bytes(bytes(4096))
            trial.unlink()
            free = shutil.disk_usage(place).free
        except OSError as error:
            raise Refused(
                f"{place} cannot be written ({error.strerror}): {advice(place == reports)}"
            ) from None
        if free < bytes_needed:
            raise Refused(
                f"{place} has {free / 1e6:.0f} MB free, and {bytes_needed / 1e6:.0f} are needed: {advice(place == reports)}"
            )
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Refused(f"another ./run.sh works in {folder}: wait for it, or stop it") from None
    return lock


def advice(is_for_reports):
    return (
        "name another folder in OUT"
        if is_for_reports
        else "copy the bundle to a folder with more room that you may write"
    )


def unpack(packed, folder):
    """Unpacks the bundle's programs into `folder` unless the same ones are there; those of an older
    bundle are replaced.
    """
    if not packed.exists():
        if folder.exists():
            return
        raise Refused(f"there is no {packed}: make the bundle with `make gpu-bundle`")
    stamp, digest = folder / ".unpacked", hashlib.sha256(packed.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    try:
        with tarfile.open(packed) as tar:
            (
                tar.extractall(partial, filter="data")
                if hasattr(tarfile, "data_filter")
                else tar.extractall(partial)
            )
    except tarfile.CompressionError as error:
        raise Refused(
            f"this python3 cannot unpack {packed.name} ({error}): use one that can, or unpack it into {folder} yourself"
        ) from None
    except (OSError, tarfile.TarError, EOFError) as error:
        raise Refused(f"{packed} cannot be unpacked ({error}): copy the bundle again") from None
    (partial / ".unpacked").write_text(digest)
    partial.rename(folder)


def link_torch(bundle, facts):
    """Creates the symlink by which the programs find libtorch."""
    link = bundle / ".libtorch"
    if facts.get("folder"):
        link.unlink(missing_ok=True)
        link.symlink_to(pathlib.Path(facts["folder"]))
