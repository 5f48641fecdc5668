#!/usr/bin/env bash
# Makes .venv at the top of the checkout with a Python of at least 3.11.
# usage: make-venv.sh [PYTHON]   (without one: python3, or the newest of python3.11 and up, or the system's package)
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

wanted=${1:-}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${wanted:+"$wanted"} ${wanted:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
}

python=$(find_python)
if [ -z "$python" ] && [ -z "$wanted" ] && ! command -v python3 >/dev/null; then
  bash tests/apt-install.sh python3 python3-venv
  python=$(find_python)
fi
if [ -z "$python" ]; then
  found=$("${wanted:-python3}" --version 2>&1) || found="no ${wanted:-python3}"
  echo "flightctl needs Python 3.11 or newer, found $found; name another with: make PYTHON=/path/to/python3.11" >&2
  exit 1
fi

can_make_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! can_make_venv; then
  bash tests/apt-install.sh "python$version-venv"
  if ! can_make_venv; then
    echo "$python cannot make virtual environments; its ensurepip module is missing" >&2
    exit 1
  fi
fi

echo "Making .venv with Python $version"
trap 'rm -rf .venv' EXIT # half an environment would be taken for a whole one
"$python" -m venv --clear .venv
trap - EXIT
