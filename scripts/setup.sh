#!/usr/bin/env bash
# Installs all that building and testing Rectify needs, and nothing that is already there. `make setup` runs it; safe to run
# again at any time. It says what it is about to install and why before it does so.
#
# Variables that it heeds: RECTIFY_CACHE (where libtorch goes; default ~/.cache/rectify), RECTIFY_LIBTORCH (cpu or cuda).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

source scripts/libtorch.sh

[ "$(uname -sm)" = "Linux x86_64" ] || die "this is $(uname -sm); libtorch's wheel and this setup are for Linux on x86-64"

# --- System packages -----------------------------------------------------------------------------------------------------
# Tested by what they bring rather than by name, so that an Open MPI or a compiler from elsewhere is as good.

have() { command -v "$1" >/dev/null; }
have_all() { local name; for name in "$@"; do have "$name" || return 1; done; }
any_file() { local pattern; for pattern in "$@"; do compgen -G "$pattern" >/dev/null && return; done; return 1; }
have_open_mpi() { have_all mpirun mpicc && [[ $(mpirun --version 2>/dev/null) == *"Open MPI"* ]]; }
have_certificates() { any_file /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; }
have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || any_file '/usr/lib64/libclang.so*' ||
    { any_file '/usr/lib/llvm-*/lib/libclang*.so' && any_file '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'; }
}

missing_packages=()
reasons=()

# want "PACKAGES" "WHY" TEST…: notes the packages where the test fails.
want() {
  local packages=$1 why=$2
  shift 2
  "$@" && return
  missing_packages+=($packages)
  reasons+=("$packages: $why")
}

find_missing_packages() {
  missing_packages=()
  reasons=()
  want "build-essential" "compiles the C++ that lies between Rust and libtorch" have_all cc c++ make
  want "pkg-config" "finds C libraries" have pkg-config
  want "cmake nasm" "build C libraries and their SIMD assembly (JPEG decoding)" have_all cmake nasm
  want "libclang-dev" "bindgen reads MPI's headers with it" have_libclang
  want "openmpi-bin libopenmpi-dev" "starts the ranks and carries what they say to each other" have_open_mpi
  want "prometheus" "an end-to-end test scrapes a run with the real server (its service is not started)" have prometheus
  stamped "$libtorch" && stamped cuda-build ||
    want "python3 python3-venv" "pip downloads libtorch's wheel" python_with_venv >/dev/null
  want "python3" "benches and the stages of the GPU bundle, which a test tries, are written in it" have python3
  have cargo || want "curl ca-certificates" "download rustup" eval 'have curl && have_certificates'
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "not root and no sudo here; run this as root, then 'make setup' again: apt-get install ${missing_packages[*]}"
  fi
}

# Debian's prometheus package starts a server on port 9090. The tests want the program only: the service is masked while apt
# runs (in /run, so it does not last), then disabled. Without systemd a policy-rc.d, removed again, does the same.
without_services() {
  case " ${missing_packages[*]} " in *" prometheus "*) ;; *) "$@"; return ;; esac
  local policy=/usr/sbin/policy-rc.d status=0
  if [ -d /run/systemd/system ]; then
    say "prometheus: its service is kept from starting, now and at boot ('systemctl enable --now prometheus' if you want it)"
    as_root systemctl mask --runtime --quiet prometheus.service
    "$@" || status=$?
    as_root systemctl unmask --runtime --quiet prometheus.service
    as_root systemctl disable --quiet prometheus.service || true
  elif [ -e "$policy" ]; then
    "$@" || status=$?
  else
    trap "as_root rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@" || status=$?
    as_root rm -f "$policy"
    trap - EXIT
  fi
  return "$status"
}

apt_install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  as_root "${apt[@]}" update || say "apt-get update complained (above); trying with the package lists that are there"
  without_services as_root "${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing_packages[@]}" ||
    die "apt-get could not install: ${missing_packages[*]} (its message is above)"
}

install_packages() {
  have apt-get || die "no apt-get here; install what these Debian packages hold, then run 'make setup' again: ${missing_packages[*]}"
  apt_install
  find_missing_packages
  [ ${#missing_packages[@]} -eq 0 ] ||
    die "installed, but still not usable: ${missing_packages[*]} (is another version first in PATH? for MPI: update-alternatives --config mpirun)"
}

# --- Rust ----------------------------------------------------------------------------------------------------------------

minimum_rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export PATH="$cargo_home/bin:$PATH"

# What is wrong with the Rust that is here, in words; nothing if it will do.
rust_fault() {
  local version
  have cargo || { echo "cargo is missing"; return; }
  version=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
  if [ "$(printf '%s\n' "$minimum_rust" "${version:-0}" | sort -V | head -n1)" != "$minimum_rust" ]; then
    echo "rustc is ${version:-missing}, and $minimum_rust or newer is needed"
  elif ! have_all cargo-fmt cargo-clippy; then
    echo "rustfmt or clippy is missing"
  fi
}

install_rust() {
  if have rustup; then
    rustup toolchain install stable --no-self-update --profile minimal -c rustfmt -c clippy
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy ||
      die "rustup could not be downloaded; install Rust $minimum_rust or newer with rustfmt and clippy, then run 'make setup' again"
    source "$cargo_home/env"
  fi
  local fault
  fault=$(rust_fault)
  [ -z "$fault" ] || die "after installing Rust: $fault (does 'rustup default' say stable?)"
}

# --- Say, then do --------------------------------------------------------------------------------------------------------

variant=$(libtorch_variant)
libtorch=libtorch-$variant
fault=$(rust_fault)
find_missing_packages

for reason in "${reasons[@]}"; do say "will install with apt-get  $reason"; done
[ -z "$fault" ] || say "will install with rustup   Rust, stable, into $cargo_home: $fault"
if ! stamped "$libtorch"; then
  [ "$variant" = cuda ] && size="3.8 GB, with CUDA for the NVIDIA GPU" || size="1.3 GB, CPU: no NVIDIA GPU was found"
  say "will put with pip          libtorch $libtorch_version ($size) into $cache: tensors and autograd"
fi
stamped cuda-build ||
  say "will put with pip          CUDA $cuda_version's headers and compiler (90 MB) into $cache: the library for GPUs"

[ ${#missing_packages[@]} -eq 0 ] || install_packages
[ -z "$fault" ] || install_rust
for set in "$libtorch" cuda-build; do stamped "$set" || fetch "$set"; done
link .libtorch "$(folder_of "$libtorch")/torch"
link .cuda-build "$(folder_of cuda-build)"
say "all is there: $(rustc --version | cut -d' ' -f1,2), libtorch $libtorch_version ($variant)"
