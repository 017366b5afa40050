"""Says in one line of JSON what this python3 and its torch are; with `--copy` also how fast the GPU
copies its own memory.
"""

import importlib.metadata
import json
import sys

COPIED_BYTES = 2**30
COPIES = 10


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe():
    facts = {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "timm": version_of("timm"),
        "triton": version_of("triton"),
    }
    try:
        import torch
    except Exception as error:  # a broken installation may raise anything
        return {**facts, "torch": None, "error": f"{type(error).__name__}: {error}"}
    facts |= {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "folder": torch.__path__[0],
        "gpus": [],
    }
    try:
        torch.cuda.init()
        facts["cudnn"] = torch.backends.cudnn.version()
        facts["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            facts["gpus"].append(
                {
                    "name": about.name,
                    "architecture": 10 * about.major + about.minor,
                    "memory_mib": about.total_memory // 2**20,
                    "multiprocessors": about.multi_processor_count,
                }
            )
        # A wheel without machine code for this GPU says so at its first kernel.
        if (torch.ones(8, device="cuda") * 2).sum().item() != 16:
            facts["error"] = "a sum on the GPU is wrong"
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return facts


def copy_speed():
    """Bytes that a copy within the GPU's memory reads and writes a second."""
    import torch

    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(COPIES):
        target.copy_(source)
    ended.record()
    torch.cuda.synchronize()
    return 2 * COPIES * COPIED_BYTES / (1e-3 * begun.elapsed_time(ended))


if __name__ == "__main__":
    facts = describe()
    if "--copy" in sys.argv and facts.get("gpus"):
        facts["copy_bytes_per_second"] = copy_speed()
    print(json.dumps(facts))
