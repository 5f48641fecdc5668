#!/usr/bin/env bash
# The main job in a minute, on an embedded database of its own: seed, search, book, pay, expire, release, audit.
# Every command is shown before it runs; its table follows.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
# A demo must not touch what its user works with: settings from outside are dropped.
for name in $(compgen -e FLIGHTCTL_ || true); do unset "$name"; done
export XDG_DATA_HOME=$folder XDG_CONFIG_HOME=$folder # the second: no file of contexts either

say() { printf '\n# %s\n' "$*"; }
run() {
  printf '$ flightctl'
  printf ' %q' "$@"
  printf '\n'
  flightctl "$@"
}
first() { flightctl search "$@" -q | head -n 1; }
book() { # prints the command and its table; keeps the booking's id in $booking
  printf '$ flightctl book'
  printf ' %q' "$@"
  printf '\n'
  booking=$(flightctl book "$@" -q)
  flightctl bookings show "$booking"
}

say "A network of seven Indian cities for the next 30 days"
run seed

say "What flies from Delhi to Bengaluru tomorrow, and to Goa with up to two changes"
run search DEL BLR --date tomorrow --size 5
run search DEL GOI --date tomorrow --seats 2 --size 5

direct=$(first DEL BLR --date tomorrow --max-hops 1 --size 1)
computed=$(flightctl search DEL GOI --date tomorrow -q --size 100 | grep -m 1 '^CF_')

say "A direct flight for two, held for five minutes; its payment succeeds"
book "$direct" --user asha --seats 2 --idempotency-key asha-1
paid=$booking
run payments process --booking "$paid" --outcome success
run bookings show "$paid"
say "The same key again is the same booking, not a second one"
run book "$direct" --user asha --seats 2 --idempotency-key asha-1

say "A connection through another city: all legs or none; its payment fails and the seats are free again"
book "$computed" --user bela
run payments process --booking "$booking" --outcome failure
run bookings history "$booking"

say "A hold of one second, never paid: the sweep ends it"
book "$direct" --user chandra --ttl 1s
sleep 1.2
run sweep
run bookings show "$booking"

say "A hold given back by an agent"
book "$direct" --user dev
run release "$booking" --reason "plans changed"

say "Where the flight's seats are, and whether everything adds up"
run flights seats "$direct"
run audit
