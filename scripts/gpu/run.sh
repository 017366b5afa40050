#!/usr/bin/env bash
# Checks and measures Rectify on this machine's NVIDIA GPU, with python3's torch 2.11 for CUDA 13.
# `make gpu-bundle` makes the bundle.
#
#   ./run.sh STAGE…            of 0 to 7; 0 1 2 3 take at most 240 s, all together ten minutes
#   ./run.sh --dry [STAGE…]    the same as far as a machine without a GPU can
#   ./run.sh cifar10 MINUTES   ViT-Tiny on CIFAR-10 with CRReLU and with GELU, for that long
#
# A call leaves one archive in the folder $OUT (default: reports), rewritten after every stage.
command -v python3 >/dev/null || { echo "error: there is no python3 in PATH" >&2; exit 2; }
exec python3 -B "$(dirname "$(readlink -f "$0")")/gpu/main.py" "$@"
