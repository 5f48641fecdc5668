#!/usr/bin/env bash
# Installs MariaDB and Redis from the system's packages when the tests would not find them. The tests start private
# instances of their own and never use the system's.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
PATH=$PATH:/usr/sbin:/usr/local/sbin

missing() { # the packages that are still needed
  if [ -z "${FLIGHTCTL_TEST_DATABASE_URL:-}" ] && ! command -v mariadbd >/dev/null && ! command -v mysqld >/dev/null; then
    echo mariadb-server
  fi
  if [ -z "${FLIGHTCTL_TEST_DATABASE_URL:-}" ] && [ ! -e /usr/lib/galera/libgalera_smm.so ] && [ ! -e /usr/lib/libgalera_smm.so ]; then
    echo galera-4
  fi
  if [ -z "${FLIGHTCTL_TEST_REDIS_URL:-}" ] && ! command -v redis-server >/dev/null; then
    echo redis-server
  fi
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" = 0 ]; then
  exit 0
fi

failed=0
bash apt-install.sh "${packages[@]}" || failed=$?
mapfile -t packages < <(missing)
if [ "${#packages[@]}" != 0 ]; then
  echo "The tests need ${packages[*]}; or set FLIGHTCTL_TEST_DATABASE_URL and FLIGHTCTL_TEST_REDIS_URL to servers of yours." >&2
  exit 1
fi
if [ "$failed" != 0 ]; then
  echo "The programs are there, though; a service that may not start in a container does not matter to the tests." >&2
fi
