"""Checks an unpacked set of wheels: every package of a requirements file is there, and every file has the hash its wheel recorded.

usage: verify_wheels.py REQUIREMENTS FOLDER     exit status 0: whole; 1: not, and the first fault on stderr
"""

import base64
import csv
import hashlib
import pathlib
import sys


def pins(requirements):
    """(name, version) of each `name==version` line."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text().splitlines())
    return [tuple(line.split("==")) for line in lines if line]


def dist_info(folder, name, version):
    """The package's `.dist-info`; a local version (`2.11.0+cpu`) of the same release will do."""
    stem = f"{name.replace('-', '_')}-{version}"
    found = [*folder.glob(f"{stem}.dist-info"), *folder.glob(f"{stem}+*.dist-info")]
    if not found:
        raise SystemExit(f"{folder}: {name} {version} is not there")
    return found[0]


def sha256(path):
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def verify(folder, info):
    """Compares each file with the line that RECORD holds for it. Lines without a hash (RECORD itself, compiled Python) have
    nothing to compare; those that lead out of the folder are command-line scripts, which nothing here uses."""
    with (info / "RECORD").open(newline="") as record:
        for name, digest, *_ in csv.reader(record):
            if not digest or name.startswith(".."):
                continue
            path = folder / name
            if not path.is_file():
                raise SystemExit(f"{path}: missing")
            if sha256(path) != digest.removeprefix("sha256="):
                raise SystemExit(f"{path}: its content is not what the wheel recorded")


def main():
    requirements, folder = map(pathlib.Path, sys.argv[1:])
    for name, version in pins(requirements):
        verify(folder, dist_info(folder, name, version))


if __name__ == "__main__":
    main()
