#!/bin/sh
# Checks what image/install.sh made: nothing in it that builds software, it starts, and it serves a chat.
#
#   image/check.sh DEST
set -eu

dest=${1:?usage: image/check.sh DEST}
here=$(cd "$(dirname "$0")" && pwd)

for tool in gcc cc g++ clang ld make pip pip3; do
  if [ -e "$dest/bin/$tool" ]; then
    echo "error: $dest/bin/$tool is in the image: what runs needs nothing that builds" >&2
    exit 1
  fi
done
for command in "gateway --help" "controller --help" "models pull --help" "engine --help"; do
  # shellcheck disable=SC2086 — two words
  "$dest/bin/penstock" $command >/dev/null || { echo "error: penstock $command fails in the image" >&2; exit 1; }
done
du -sh "$dest" | awk '{print "size: " $1}'
"$dest/bin/python" "$here/../.ci/wheel_serves.py"
