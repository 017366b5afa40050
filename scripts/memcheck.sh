#!/usr/bin/env bash
# Runs the tests of crates/jpeg, where Rust meets C, under a memory checker: scripts/memcheck.sh [valgrind | asan] [TEST…]
#
# valgrind (apt install valgrind) sees every access, libjpeg-turbo's assembly too, and reads of memory never written. asan
# (a nightly compiler and clang) compiles Rust, the shim and libjpeg-turbo with AddressSanitizer; assembly it does not see, so
# SIMD is switched off. TEST is a file of crates/jpeg/tests without its ending; all of them if none is named.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-valgrind}
shift $(($# > 0 ? 1 : 0))
tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(find crates/jpeg/tests -maxdepth 1 -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort)
selected=()
for test in "${tests[@]}"; do selected+=(--test "$test"); done

case $mode in
  valgrind)
    # Only what is certainly lost is a leak: the runtime keeps some memory to the end.
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite"
    cargo test --release -p jpeg "${selected[@]}" -- --test-threads=1
    ;;
  asan)
    CC=${CC:-$(command -v clang || command -v clang-14)} || { echo "memcheck.sh: clang is needed (apt install clang)" >&2; exit 2; }
    export CC CFLAGS="-fsanitize=address -fno-omit-frame-pointer -g1" RUSTFLAGS=-Zsanitizer=address JSIMD_FORCENONE=1
    cargo +nightly test --release -p jpeg --target x86_64-unknown-linux-gnu --target-dir target/asan "${selected[@]}"
    ;;
  *)
    echo "memcheck.sh: 'valgrind' or 'asan', not '$mode'" >&2
    exit 2
    ;;
esac
