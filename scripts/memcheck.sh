#!/usr/bin/env bash
# Runs the tests of crates/jpeg, where Rust meets C, under a memory checker: scripts/memcheck.sh [valgrind | asan] [TEST…]
#
# valgrind (apt install valgrind) sees every access, and use of memory never written. With SIMD=1 libjpeg-turbo's assembly runs too, and
# only accesses are judged: of its vectors valgrind calls pixels unwritten that are not (tests/memory.rs shows that none depends on
# what memory held). asan (a nightly compiler and clang) compiles Rust, the shim and libjpeg-turbo with AddressSanitizer;
# assembly it does not see, so SIMD is off. TEST is a file of crates/jpeg/tests without its ending; all of them if none is named.
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
    unwritten=yes
    [ "${SIMD:-0}" = 1 ] && unwritten=no || export JSIMD_FORCENONE=1
    # Only what is certainly lost is a leak: the runtime keeps some memory to the end.
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=99 --undef-value-errors=$unwritten --leak-check=full --errors-for-leak-kinds=definite"
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
