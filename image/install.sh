#!/bin/sh
# Installs Penstock into a folder as the container image has it: a virtual environment of wheels at pinned versions, without
# pip, caches or compilers. The Dockerfile runs it, and so does CI (`make image`), since it needs no container engine.
#
#   image/install.sh DEST [WHEEL-OR-SOURCE]
#
# Versions are those of image/constraints.txt; `make lock` writes it anew. PYTHON names the interpreter (default python3).
set -eu

dest=${1:?usage: image/install.sh DEST [WHEEL-OR-SOURCE]}
here=$(cd "$(dirname "$0")" && pwd)
what=${2:-$here/..}
python=${PYTHON:-python3}

if [ -e "$dest" ] && [ -n "$(ls -A "$dest")" ]; then
  echo "error: $dest is there already and is not empty" >&2
  echo "  hint: name an empty folder; nothing is written over" >&2
  exit 2
fi

"$python" -m venv "$dest"
# --only-binary: a package without a wheel would need a compiler, which the image does not have. Ours is built from source.
"$dest/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-cache-dir --no-compile \
  --only-binary :all: --no-binary penstock --constraint "$here/constraints.txt" "$what"
"$dest/bin/python" -m pip check
"$dest/bin/python" -m pip uninstall --quiet --yes pip setuptools >/dev/null 2>&1 || true
rm -f "$dest"/bin/pip "$dest"/bin/pip3 "$dest"/bin/pip3.*
find "$dest" -type d \( -name tests -o -name test \) -path '*site-packages*' -prune -exec rm -rf {} +
# Compiled once here: the container's root file system is read-only. Hashes, not times, so the same source gives the same bytes.
"$dest/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$dest/lib" || true
"$dest/bin/penstock" --version
