"""A peer of the training step: timm's model in PyTorch, eager, compiled, or eager on two ranks of DistributedDataParallel over gloo.

Measures a round for every line of standard input; figures are those of one rank.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time

import timm
import torch


class CRReLU(torch.nn.Module):
    """max(0, x) + ε·x·e^(−x²/2) with a learned ε, composed of PyTorch's operations."""

    def __init__(self):
        super().__init__()
        self.epsilon = torch.nn.Parameter(torch.tensor([0.01]))

    def forward(self, x):
        return torch.relu(x) + self.epsilon * x * torch.exp(-x * x / 2)


def peak_mib(device):
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def join():
    """Two ranks. Where somebody has set torchrun's variables they say who this is; else rank 0 starts the other."""
    rank = int(os.environ.get("RANK", 0))
    if "MASTER_ADDR" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]), WORLD_SIZE="2")
        environment = {**os.environ, "RANK": "1"}
        subprocess.Popen([sys.executable, *sys.argv], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    return rank


def lines(rank, shared):
    """The lines of standard input, of rank 0 for all ranks."""
    while True:
        line = torch.tensor([1 if rank == 0 and sys.stdin.readline() else 0])
        if shared:
            torch.distributed.broadcast(line, 0)
        if not line.item():
            return
        yield


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["eager", "compile", "ddp-gloo"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for name in ("model", "precision", "activation"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("batch", "threads", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--shape", type=json.loads, default={}, help="another shape of a ViT: keys of our [model], as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rank = join() if arguments.how == "ddp-gloo" else 0
    device = arguments.device
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    torch.backends.cuda.matmul.allow_tf32 = False  # as ours
    shape = dict(arguments.shape)
    side = shape.pop("image_size", 224)
    model = timm.create_model(arguments.model, **({"img_size": side, **shape} if shape else {})).to(device)
    if arguments.activation == "crrelu":
        for module in list(model.modules()):
            if isinstance(getattr(module, "act", None), torch.nn.GELU):
                module.act = CRReLU().to(device)
    if arguments.how == "ddp-gloo":
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.05)
    images = (torch.rand(arguments.batch, 3, side, side) * 4 - 2).to(device)
    labels = (torch.arange(arguments.batch) % 1000).to(device)
    half = torch.autocast(device, torch.bfloat16, enabled=arguments.precision == "bf16")

    def loss_of(images):
        with half:
            logits = model(images)
        return torch.nn.functional.cross_entropy(logits.float(), labels)

    if arguments.how == "compile":
        loss_of = torch.compile(loss_of, mode="max-autotune" if device == "cuda" else None)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(images).backward()
        optimizer.step()

    for _ in range(3):
        step()
    for _ in lines(rank, arguments.how == "ddp-gloo"):
        wait()
        faults, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        for _ in range(arguments.steps):
            step()
        wait()
        seconds = time.perf_counter() - begun
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        figures = {
            "images_per_second": arguments.steps * arguments.batch / seconds,
            "peak_memory_mib": peak_mib(device),
            "page_faults_per_step": faults / arguments.steps,
        }
        if rank == 0:
            print(json.dumps(figures), flush=True)


main()
