"""The one file that a call leaves: its reports, at most 8 MB, whole at any moment."""

import io
import os
import tarfile

LIMIT = 8_000_000
# What a report may be called; weights, images and programs stay where they are.
ENDINGS = (".txt", ".json", ".jsonl", ".csv", ".toml", ".log", ".svg")
# Size limits of one file, tried in this order until the archive fits. A larger file loses its
# middle.
CUTS = (2**23, 2**21, 2**19, 2**17, 2**15, 2**13, 2**10)


def write(folder, archive):
    """Packs the reports below `folder` into `archive`, which is replaced atomically. Raises OSError
    if the disk is full.
    """
    packed = next((packed for cut in CUTS if len(packed := pack(folder, cut)) <= LIMIT), None)
    if packed is None:
        raise OSError(f"the reports in {folder} do not fit into {LIMIT} bytes")
    partial = archive.with_name(f".{archive.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(archive)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def pack(folder, most):
    """The bytes of a .tar.gz of all reports, of each at most about `most` bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in ENDINGS or path.is_symlink() or not path.is_file():
                continue
            data = ends_of(path, most)
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            entry.size, entry.mtime = len(data), int(path.stat().st_mtime)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def ends_of(path, most):
    """A file's bytes; of a larger one than `most` its beginning and its end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= most:
            return file.read(most)
        head = file.read(most // 2)
        file.seek(size - most // 2)
        return (
            head + f"\n… {size - 2 * (most // 2)} bytes cut out …\n".encode() + file.read(most // 2)
        )
