#!/usr/bin/env bash
# Checks and measures Rectify on this machine's GPU, by the torch 2.11 of its python3. Made by `make gpu-bundle`.
#
#   ./run.sh check             what is here, every kernel against its reference, losses of the GPU against the CPU's and
#                              of a CUDA graph against none, NCCL with one rank
#   ./run.sh bench [CASES]     the training step against timm on PyTorch, eager and compiled (cases: bench/step.py --device cuda --help)
#   ./run.sh cifar10 MINUTES   ViT-Tiny on CIFAR-10 with CRReLU and with GELU, as many epochs as the minutes allow
#
# Reports go to the folder $OUT (default: reports): text, tables and curves, no checkpoints.
set -eu -o pipefail
cd "$(dirname "$0")"

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
die() { echo "error: $*" >&2; exit 1; }

prepare() {
  local torch
  torch=$(python3 -c 'import torch; assert torch.__version__.startswith("2.11."), torch.__version__; print(torch.__path__[0])') ||
    die "python3 has no torch 2.11"
  ln -sfn "$torch" .libtorch
  [ -d target ] || { mkdir target.partial && tar -C target.partial -xf programs.tar.xz && mv target.partial target; }
  trainer=$PWD/target/release/rectify-trainer
  report=${OUT:-$PWD/reports}
  mkdir -p "$report"
  { echo "commit $(cat commit), $(date -u +%Y-%m-%d)"; nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader; } |
    tee "$report/machine.txt"
}

# losses NAME KEY…: one run of the digits without anything that differs between devices by design.
losses() {
  local run=$report/parity-$1 sets=(--set data.path=target/digits --set train.precision=f32) key
  shift
  for key in "$@"; do sets+=(--set "$key"); done
  "$trainer" train configs/demo.toml --run-dir "$run" "${sets[@]}" --set log.every_steps=1 --set schedule.max_steps=40 \
    --set log.progress=false >"$run.txt" 2>&1 || { tail -n 3 "$run.txt"; return 1; }
  rm -rf "$run/checkpoints"
}

# The losses of a CPU, of this GPU, and of a CUDA graph on it.
parity() {
  losses cpu train.device=cpu && losses cuda train.device=cuda && losses graph train.device=cuda train.cuda_graph=true || return 1
  # Both parts of a step: forward and backward, and the update.
  grep -rq "forward and backward: replayed" "$report/parity-graph/logs" && grep -rq "the update: replayed" "$report/parity-graph/logs" ||
    { grep -rhn "CUDA graph\|cuda_graph" "$report"/parity-graph*; return 1; }
  echo "GPU against CPU:" && python3 bench/parity.py "$report/parity-cpu" "$report/parity-cuda" || return 1
  echo "CUDA graph against none:" && python3 bench/parity.py "$report/parity-cuda" "$report/parity-graph" 1e-6 1e-3
}

check() {
  local failed=0
  target/release/rectify doctor | tee "$report/doctor.txt" || true
  RECTIFY_TEST_DEVICE=cuda target/release/test-kernels --test-threads 1 2>&1 | tee "$report/kernels.txt" || failed=1
  target/release/test-nccl --ignored --test-threads 1 2>&1 | tee "$report/nccl.txt" || failed=1
  parity 2>&1 | tee "$report/parity.txt" || failed=1
  [ $failed = 0 ] || die "something above failed"
  echo "all checks passed"
}

bench() {
  python3 bench/step.py --device cuda --python python3 --program "$trainer" --results "$report/step.jsonl" --steps 20 \
    ${1:+--cases "$1"} 2>&1 | tee -a "$report/bench.txt"
}

cifar10() {
  local minutes=$1 rate epochs activation sets
  [ -f cifar10.tar.xz ] || die "this bundle was made without CIFAR-10: make gpu-bundle CIFAR=…"
  [ -d cifar10 ] || { mkdir cifar10.partial && tar -C cifar10.partial -xf cifar10.tar.xz && mv cifar10.partial cifar10; }
  sets=(--set data.path=cifar10 --set train.device=cuda --set train.precision=bf16 --set log.progress=false)
  rate=$("$trainer" bench configs/vit_tiny_cifar10.toml "${sets[@]}" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["images_per_second"])')
  # Two runs; a fifth is left for starting, evaluations and a loader that may be slower than the steps.
  epochs=$(python3 -c "print(max(1, int($minutes * 60 * 0.8 / 2 * $rate / 50000)))")
  echo "$rate images/s: $epochs epochs each" | tee "$report/cifar10.txt"
  for activation in crrelu gelu; do
    [ $activation = crrelu ] || sets+=(--set model.activation=gelu)
    "$trainer" train configs/vit_tiny_cifar10.toml "${sets[@]}" --run-dir "$report/cifar10-$activation" \
      --set "schedule.epochs=$epochs" --set "schedule.warmup_epochs=$(python3 -c "print(min(20, $epochs / 10))")" --set checkpoint.every_epochs=0
    rm -rf "$report/cifar10-$activation/checkpoints"
    python3 -c 'import json, sys; s = json.load(open(sys.argv[1])); print(sys.argv[2], {k: s[k] for k in ("top1", "best_top1", "images_per_second", "wall_seconds") if k in s})' \
      "$report/cifar10-$activation/summary.json" $activation | tee -a "$report/cifar10.txt"
  done
}

case ${1:-} in
  check) prepare; check ;;
  bench) prepare; bench "${2:-}" ;;
  cifar10) [ $# = 2 ] || usage; prepare; cifar10 "$2" ;;
  *) usage ;;
esac
