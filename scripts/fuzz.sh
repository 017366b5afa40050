#!/usr/bin/env bash
# Fuzzes one reader: scripts/fuzz.sh TARGET [SECONDS] [libFuzzer's options…]; docs/fuzzing.md says what is needed.
#
# The C below us is checked too: clang compiles the shim and libjpeg-turbo with AddressSanitizer and with libFuzzer's counters.
# Assembly is not instrumented, so libjpeg-turbo's SIMD is switched off at run time; SIMD=1 leaves it on.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?"which target? one of: $(ls fuzz/fuzz_targets | sed 's/\.rs$//' | tr '\n' ' ')"}
seconds=${2:-1800}
shift $(($# > 2 ? 2 : $#))

# Where the seeds of a target lie in the repository.
case $target in
  jpeg_decode) seeds=crates/jpeg/seeds/decode ;;
  jpeg_assemble) seeds=crates/jpeg/seeds/assemble ;;
  segment_index) seeds=crates/jpeg/seeds/segment_index ;;
  shard_index) seeds=dataloader/seeds/shard_index ;;
  tar) seeds=dataloader/tests/fixtures ;;
  *) echo "fuzz.sh: no target is called '$target'; see fuzz/Cargo.toml" >&2; exit 2 ;;
esac

CC=${CC:-$(command -v clang || command -v clang-14)} || { echo "fuzz.sh: clang is needed (apt install clang)" >&2; exit 2; }
export CC
export CFLAGS="-fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -g1"
[ "${SIMD:-0}" = 1 ] || export JSIMD_FORCENONE=1

mkdir -p "fuzz/corpus/$target"
# -rss_limit_mb: images of 2^20 pixels and ASan's shadow; -timeout: nothing that small may take that long.
exec cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "$seeds" -- \
  -max_total_time="$seconds" -timeout=60 -rss_limit_mb=3072 -print_final_stats=1 "$@"
