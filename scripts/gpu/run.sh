#!/usr/bin/env bash
# Checks and measures Rectify on this machine's NVIDIA GPU, with the torch 2.11 for CUDA 13 of its python3. Made by `make gpu-bundle`.
#
#   ./run.sh STAGE…            stages 0 to 7, in this order: ./run.sh 0 1 2 3 fits 240 s, all together fit ten minutes
#   ./run.sh --dry [STAGE…]    the same as far as a machine without a GPU can
#   ./run.sh cifar10 MINUTES   ViT-Tiny on CIFAR-10 with CRReLU and with GELU, as many epochs as the minutes allow
#
# A call leaves one archive in the folder $OUT (default: reports), which is rewritten after every stage.
command -v python3 >/dev/null || { echo "error: there is no python3 in PATH" >&2; exit 2; }
exec python3 -B "$(dirname "$(readlink -f "$0")")/gpu/main.py" "$@"
