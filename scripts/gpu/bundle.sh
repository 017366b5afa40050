#!/usr/bin/env bash
# Makes target/gpu-bundle, which checks and measures Rectify on a machine with an NVIDIA GPU and torch
# 2.11 in its python3. `make gpu-bundle [CIFAR=cifar10.tar.xz]` calls it; CIFAR names a tar of CIFAR-10
# as JPEGs in train/CLASS/ and test/CLASS/, for `run.sh cifar10`.
set -eu -o pipefail
cd "$(dirname "$0")/../.."

bundle=target/gpu-bundle
cifar=${1:-}
[ -z "$cifar" ] || [ -f "$cifar" ] || { echo "error: there is no $cifar; CIFAR names a tar of CIFAR-10 as JPEG folders" >&2; exit 1; }

# Built without MPI, which the machine may not have, in a target folder of its own, so that
# target/release keeps what `make build` made. Naming the whole workspace keeps the features of
# dependencies the same in each command, so that none is built twice.
export CARGO_TARGET_DIR=target/gpu-build
release=$CARGO_TARGET_DIR/release
without_mpi=(--release --locked --workspace --no-default-features --features trainer/nccl,dataloader/remote,eafo/tool)
# test_program CRATE_FOLDER NAME: the program of that crate's test; crates may have tests of one name.
test_program() {
  local found
  found=$(cargo test "${without_mpi[@]}" --test "$2" --no-run --message-format json |
    grep "\"manifest_path\":\"$PWD/$1/Cargo.toml\".*\"name\":\"$2\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  [ "$(wc -l <<<"$found")" = 1 ] && [ -x "$found" ] || { echo "error: not one program of $1's test $2: $found" >&2; return 1; }
  echo "$found"
}
cargo build "${without_mpi[@]}" --lib --bins
# Every test that runs on a GPU where it is told so, and those that run on GPUs alone.
declare -A tests
tests[nccl]=$(test_program trainer nccl)
for file in $(grep -l RECTIFY_TEST_DEVICE crates/kernels/tests/*.rs); do
  name=$(basename "$file" .rs)
  tests[$name]=$(test_program crates/kernels "$name")
done

rm -rf "$bundle"
scripts/gpu/assemble.sh "$bundle"
programs=$bundle/programs/release
mkdir -p "$programs"
cp "$release"/{rectify,rectify-trainer,rectify-data,librectify_cuda.so} "$programs/"
for name in "${!tests[@]}"; do cp "${tests[$name]}" "$programs/test-$name"; done
# Times of kernels where ncu cannot work. libtorch brings CUPTI.
cupti=.libtorch/../nvidia/cu13
cc -O2 -shared -fPIC -I "$cupti/include" -I .cuda-build/nvidia/cu13/include scripts/gpu/kernel_times.c -o "$programs/libkernel_times.so" \
  "$cupti/lib/libcupti.so.13"
strip "$programs"/*
"$release/rectify-data" sample "$bundle/programs/digits" >/dev/null
# The kernels of an H100 or H200, compiled here; another GPU compiles its own there.
cargo build "${without_mpi[@]}" --example compile_kernels
CUDA_BUILD=$PWD/.cuda-build LD_LIBRARY_PATH=$PWD/.libtorch/lib "$release/examples/compile_kernels" 90 "$bundle/programs/kernels"
tar -C "$bundle/programs" -cf - . | gzip -9 >"$bundle/programs.tar.gz"
rm -r "$bundle/programs"
[ -z "$cifar" ] || cp "$cifar" "$bundle/cifar10.tar.xz"
size=$(du -sm "$bundle" | cut -f1)
echo "$bundle: $size MB; on the machine with the GPU: ./run.sh 0 1 2 3, then ./run.sh 1 4 5 6 7"
[ "$size" -lt 40 ] || { echo "error: that is more than 40 MB" >&2; exit 1; }
