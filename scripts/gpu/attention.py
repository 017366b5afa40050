"""Attention of this torch against f64, one line of JSON a case: attention.py cuda|cpu.

The last block of a model asks with one query (two if distilled), every other with all 197. Scores
near -120 are what a trained model may have: NaN was reported for cuDNN there, and in gradients of
queries under a mask where the keys are 64 more than a multiple of 128.
"""

import json
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "cuda": {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION},
    "cpu": {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH},
}
HEADS, WIDTH = 6, 64
# How far results in bf16 may be from f64, relative to the largest number of each tensor.
TOLERANCE = 2e-2
# As many sequences as one dimension of a grid numbers, which is what the trainer hands over at once; and more, as TNT's inner
# attention has them on 335 images.
MOST, MORE, CHECKED = 65_535, 65_660, 64


def inputs(batch, heads, queries, keys, width, score, device):
    """Queries and keys whose scaled products are all around `score`, values, and a gradient from
    above; bf16.
    """
    draw = torch.Generator().manual_seed(queries)
    query, key, value, above = (
        torch.randn(batch, heads, count, width, generator=draw)
        for count in (queries, keys, keys, queries)
    )
    # One large coordinate in queries and 1 in all keys, so that gradients of queries do not cancel.
    query[..., 0], key[..., 0] = score * width**0.5, 1
    return [tensor.bfloat16().to(device) for tensor in (query, key, value, above)]


def attend(tensors, mask=None, backend=None, rows=slice(None)):
    """The result and the gradients of queries, keys and values; in f64 on the CPU where no backend
    is named.
    """
    query, key, value, above = tensors
    if backend is None:
        query, key, value, above = (tensor[rows].double().cpu() for tensor in tensors)
        mask = mask.double().cpu() if mask is not None else None
    query, key, value = (tensor.detach().requires_grad_() for tensor in (query, key, value))
    with sdpa_kernel(backend or SDPBackend.MATH):
        result = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    result.backward(above)
    return [
        tensor[rows if backend else slice(None)]
        for tensor in (result, query.grad, key.grad, value.grad)
    ]


def worst(found, expected):
    """The largest difference over the largest number of each tensor; NaN where anything is NaN."""
    ratios = [
        ((one.double().cpu() - other).abs().max() / other.abs().max().clamp(min=1e-30)).item()
        for one, other in zip(found, expected)
    ]
    return float("nan") if any(ratio != ratio for ratio in ratios) else max(ratios)


def milliseconds(work):
    if not torch.cuda.is_available():
        return None
    work()
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(5):
        work()
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / 5


def cases(device):
    """Name, inputs, mask, rows that are compared."""
    batch = 16 if device == "cuda" else 2
    whole = slice(None)
    for queries in (1, 2, 197):
        for score in (0, -120):
            yield f"{queries} of 197 at {score}", inputs(
                batch, HEADS, queries, 197, WIDTH, score, device
            ), None, whole
    for queries in (1, 192):
        mask = torch.zeros(1, 1, queries, 192, dtype=torch.bfloat16, device=device)
        mask[..., 150:] = float("-inf")
        yield f"{queries} of 192 under a mask", inputs(
            batch, HEADS, queries, 192, WIDTH, 0, device
        ), mask, whole
    for many in (MOST, MORE) if device == "cuda" else (CHECKED,):
        tensors = inputs(many, 4, 16, 16, 8, 0, device)
        yield f"batch of {many}", tensors, None, slice(many - CHECKED, many)


def main():
    device = sys.argv[1]
    for name, tensors, mask, rows in cases(device):
        expected = attend(tensors, mask, rows=rows)
        for backend, kind in BACKENDS[device].items():
            line = {"backend": backend, "case": name}
            try:
                apart = worst(attend(tensors, mask, kind, rows), expected)
                line |= {"apart": apart if apart == apart else "NaN", "ok": apart <= TOLERANCE}
                line["ms"] = milliseconds(lambda: attend(tensors, mask, kind, rows))
            except RuntimeError as error:
                why = str(error).splitlines()[0][:200]
                # A CUDA error is a failure, but where a launch is too large for the grid; otherwise
                # the backend declines these inputs.
                too_large = "invalid configuration" in why and name == f"batch of {MORE}"
                failed = "CUDA error" in why and not too_large
                line |= {"apart": why, "ok": False} if failed else {"refused": why}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
