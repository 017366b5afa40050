# Where libtorch and what its CUDA half is built with lie, and how they get there; sourced by setup.sh.
#
# A set of wheels is unpacked once per user into a cache outside the checkout, so that a second clone reuses it:
#     $RECTIFY_CACHE/libtorch-2.11.0-cpu/      torch/, nvidia/…, and `.rectify-stamp`: the pins that it was made from
#     $RECTIFY_CACHE/cuda-build-13.0/          nvidia/…, the stamp
# A folder of that name is whole or absent: the download goes to `….partial`, is checked against the wheels' own hashes, and is
# then renamed. A lock keeps two clones from doing it at once.

cache=${RECTIFY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rectify}
libtorch_version=2.11.0
cuda_version=13.0

# The folder of a set: libtorch-cpu, libtorch-cuda or cuda-build, as its list under scripts/ is called.
folder_of() {
  case $1 in
    libtorch-*) echo "$cache/libtorch-$libtorch_version-${1#libtorch-}" ;;
    *) echo "$cache/$1-$cuda_version" ;;
  esac
}

# pins SET: the requirements without comments, which is what a stamp holds.
pins() { grep -v '^#' "scripts/$1.txt"; }

stamped() { pins "$1" | cmp -s - "$(folder_of "$1")/.rectify-stamp" 2>/dev/null; }

# Which set this machine gets. nvidia-smi can take seconds, so it is asked only while the answer is not yet in the cache.
libtorch_variant() {
  case ${RECTIFY_LIBTORCH:-} in
    cpu | cuda) echo "$RECTIFY_LIBTORCH"; return ;;
    "") ;;
    *) die "RECTIFY_LIBTORCH is '$RECTIFY_LIBTORCH'; it can be 'cpu' or 'cuda' (or unset: cuda where nvidia-smi shows a GPU)" ;;
  esac
  if command -v nvidia-smi >/dev/null && { stamped libtorch-cuda || nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }; then
    echo cuda
  else
    echo cpu
  fi
}

# A Python that can make virtual environments; a Debian python3 without python3-venv cannot.
python_with_venv() {
  local python
  for python in /usr/bin/python3 python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

# fetch SET: fills the cache. Call it only where `stamped SET` is false.
fetch() {
  local folder requirements="scripts/$1.txt" python
  folder=$(folder_of "$1")
  python=$(python_with_venv) || die "no python3 with the venv module: install python3-venv, then run 'make setup' again"
  mkdir -p "$cache"
  exec 9>"$folder.lock"
  if ! flock -n 9; then
    say "another setup is filling $folder; waiting for it"
    flock 9
  fi
  if ! stamped "$1"; then
    if [ -d "$folder" ] && "$python" scripts/verify_wheels.py "$requirements" "$folder" 2>/dev/null; then
      say "$folder was there without a stamp; its files are the wheels' own, so it is kept"
    else
      download "$1" "$folder" "$requirements" "$python"
    fi
    pins "$1" >"$folder/.rectify-stamp.new"
    mv "$folder/.rectify-stamp.new" "$folder/.rectify-stamp"
  fi
  exec 9>&-
}

download() {
  local set=$1 folder=$2 requirements=$3 python=$4 partial="$2.partial" need_mib free_mib glibc
  local platforms=(--platform manylinux2014_x86_64)
  for glibc in {28..17}; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  case $set in libtorch-cuda) need_mib=9000 ;; libtorch-cpu) need_mib=3500 ;; *) need_mib=500 ;; esac
  rm -rf "$partial"
  free_mib=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
  [ "$free_mib" -ge "$need_mib" ] ||
    die "$cache has $free_mib MiB free and the download needs $need_mib: make room, or set RECTIFY_CACHE to a folder elsewhere"
  mkdir -p "$partial/tmp"
  "$python" -m venv "$partial/venv"
  # pip follows the user's own configuration (index, proxy, certificates, cache). The platforms are named so that every machine
  # gets the same wheels, whatever its Python; all of them, since pip does not infer that glibc 2.28 runs what 2.18 does. Its
  # temporary files go beside the result, as /tmp may be small.
  TMPDIR="$partial/tmp" PIP_USER=0 "$partial/venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    --no-deps --no-compile --only-binary=:all: --implementation cp --python-version 3.11 \
    "${platforms[@]}" --target "$partial/tree" -r "$requirements" ||
    { rm -rf "$partial"; die "pip could not download $set (its message is above); run 'make setup' again"; }
  "$python" scripts/verify_wheels.py "$requirements" "$partial/tree" ||
    { rm -rf "$partial"; die "the downloaded $set is damaged (see above); run 'make setup' again"; }
  rm -rf "$folder"
  mv "$partial/tree" "$folder"
  rm -rf "$partial"
}

# link LINK TARGET: a symlink in the checkout into the cache; left alone where it is right already.
link() {
  local target
  target=$(readlink -f "$2")
  if [ -e "$1" ] && [ ! -L "$1" ]; then
    die "$PWD/$1 is not a symlink; setup lays one there: move it away, then run 'make setup' again"
  fi
  [ "$(readlink "$1" || true)" = "$target" ] && return
  ln -sfn "$target" "$1"
  say "$1 -> $target"
}
