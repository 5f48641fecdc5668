#!/usr/bin/env bash
# Unpacks a MySQL server beside the system, for the tests of Group Replication, on a Debian whose own packages have MariaDB
# only: from the suite `sid` of the mirror that apt uses here, with the libraries it needs. Nothing is installed.
# usage: fetch-mysql.sh FOLDER [SUITE]
set -euo pipefail
folder=${1:?FOLDER} suite=${2:-sid}

fail() {
  echo "$1" >&2
  echo "Unpack a MySQL 8.4 or newer yourself, and set FLIGHTCTL_TEST_MYSQL_HOME to its folder (it has bin/mysqld)." >&2
  exit 1
}

if [ -x "$folder/bin/mysqld" ] && "$folder/bin/mysqld" --no-defaults --version; then
  exit 0
fi
command -v apt-get >/dev/null || fail "There is no apt-get here."
keys=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 'Origin: Debian' | head -n 1)
if [ -z "$mirror" ] || [ ! -e "$keys" ]; then
  fail "apt has no mirror of Debian here, or was never told to update."
fi

# A state of apt's own, in which nothing is installed yet: so that it names all libraries, the C library too.
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists,archives}/partial
: >"$state/status"
echo "deb [signed-by=$keys] $mirror $suite main" >"$state/sources.list"
apt() {
  apt-get -qq -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives" -o APT::Keep-Downloaded-Packages=1 \
    -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=0 -o Acquire::Languages=none "$@"
}
echo "Fetching MySQL from $suite of $mirror into $folder" >&2
apt update || fail "$mirror cannot be read."
apt install --yes --download-only mysql-server-core >"$state/log" 2>&1 || fail "$(tail -n 5 "$state/log")"
for package in "$state"/archives/*.deb; do
  dpkg-deb -x "$package" "$folder"
done

# Its own loader and C library run it: those of the system are older.
libc=$(find "$folder" -name libc.so.6 -print -quit)
loader=$(find "$folder" -name 'ld-linux*.so.*' -print -quit)
mkdir -p "$folder/bin"
cat >"$folder/bin/mysqld" <<END
#!/bin/sh
# Takes --no-defaults first, as the server does.
first=\$1
shift
exec '$loader' --library-path '${libc%/*}:$folder/usr/lib/mysql/private' '$folder/usr/sbin/mysqld' "\$first" \\
  --basedir='$folder/usr' --plugin-dir='$folder/usr/lib/mysql/plugin' --lc-messages-dir='$folder/usr/share/mysql' \\
  --character-sets-dir='$folder/usr/share/mysql/charsets' "\$@"
END
chmod +x "$folder/bin/mysqld"
"$folder/bin/mysqld" --no-defaults --version
