#!/usr/bin/env bash
# Puts everything of the bundle that is not a program into a folder: assemble.sh FOLDER.
set -eu -o pipefail
shopt -s extglob
bundle=$(realpath -m "$1")
cd "$(dirname "$0")/../.."

mkdir -p "$bundle"/{gpu,bench,configs}
cp -r scripts/gpu/!(test_*).py scripts/gpu/fixtures "$bundle/gpu/"
cp bench/step.py bench/step_peer.py "$bundle/bench/"
cp configs/{demo,deit_small}.toml configs/paper/vit_tiny_cifar10.toml "$bundle/configs/"
cp scripts/gpu/run.sh "$bundle/"
git rev-parse HEAD >"$bundle/commit" 2>/dev/null || echo unknown >"$bundle/commit"
