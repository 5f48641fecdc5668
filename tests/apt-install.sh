#!/usr/bin/env bash
# Installs packages of Debian or Ubuntu, as root or with a sudo that asks for no password.
# usage: apt-install.sh PACKAGE...
set -euo pipefail

if ! command -v apt-get >/dev/null; then
  echo "Please install: $* (no apt-get here)" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "Please install: sudo apt-get install $*" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing $* from the system's packages" >&2

# RUNLEVEL=1 asks the packages not to start their services, as far as they listen.
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq "$@" </dev/null >>"$log" 2>&1; }

apt update || true # an unreachable source may not be the one that is needed
if ! apt install --yes --no-install-recommends "$@"; then
  cat "$log" >&2
  exit 1
fi
