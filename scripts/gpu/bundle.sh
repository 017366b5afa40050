#!/usr/bin/env bash
# Makes target/gpu-bundle: what a machine with an NVIDIA GPU and torch 2.11 in its python3 needs to check and measure Rectify there.
# Called by `make gpu-bundle [CIFAR=cifar10.tar.xz]`: CIFAR-10 as JPEGs in train/CLASS/ and val/CLASS/ (or test/), for `run.sh cifar10`.
set -eu -o pipefail
cd "$(dirname "$0")/../.."

bundle=target/gpu-bundle
cifar=${1:-}
release=target/release
[ -z "$cifar" ] || [ -f "$cifar" ] || { echo "error: there is no $cifar; CIFAR names a tar of CIFAR-10 as JPEG folders" >&2; exit 1; }

# All goes without MPI, which the machine may not have; afterwards what `make build` made lies in its place again. The whole workspace
# is named, as libraries of others would else be built once more for each part.
without_mpi=(--release --locked --workspace --no-default-features --features trainer/nccl,dataloader/remote,eafo/tool)
trap 'cargo build --release --locked --workspace --lib --bins' EXIT
test_program() { cargo test "${without_mpi[@]}" --test "$1" --no-run --message-format json | grep "\"name\":\"$1\"" |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1; }
fused=$(test_program fused)
nccl=$(test_program nccl)
cargo build "${without_mpi[@]}" --lib --bins

rm -rf "$bundle"
mkdir -p "$bundle/programs/release" "$bundle/bench" "$bundle/configs"
cp "$release"/{rectify,rectify-trainer,rectify-data,librectify_cuda.so} "$bundle/programs/release/"
cp "$fused" "$bundle/programs/release/test-kernels"
cp "$nccl" "$bundle/programs/release/test-nccl"
strip "$bundle"/programs/release/*
"$release/rectify-data" sample "$bundle/programs/digits" >/dev/null
tar -C "$bundle/programs" -cJf "$bundle/programs.tar.xz" .
rm -r "$bundle/programs"
cp bench/step.py bench/step_peer.py scripts/gpu/parity.py "$bundle/bench/"
cp configs/demo.toml configs/paper/vit_tiny_cifar10.toml "$bundle/configs/"
cp scripts/gpu/run.sh "$bundle/"
[ -z "$cifar" ] || cp "$cifar" "$bundle/cifar10.tar.xz"
git rev-parse HEAD >"$bundle/commit"
size=$(du -sm "$bundle" | cut -f1)
echo "$bundle: $size MB; on the machine with the GPU: ./run.sh check, ./run.sh bench, ./run.sh cifar10 MINUTES"
[ "$size" -lt 40 ] || { echo "error: that is more than 40 MB" >&2; exit 1; }
