"""Whole days of the schedule, packed airport by airport: what a search reads of a large network in place of its rows.

**Fresh.** A packed day tells what the flights were when it was packed, and every change of the schedule that touches it
takes it away in its own transaction (``schedule.unpack``). Whoever packs a day first claims it: behind all changes that
are on their way, since he writes the row of ``schedule_state`` that each of them writes, too. Then he reads the
flights, from a server that knows of the claim, and keeps what he made of them only if the claim is still there, which
any change since has taken away with the day. All of that are rows written, not rows locked, so that on a cluster one of
the two loses at COMMIT. What other people's SQL does to flights is found out when the day is packed again; an hour
after its claim no search believes it any more, as with routes in Redis.

**Days** are those of departures in UTC. Searches for one date at the origin read the day before it (the origin may be
ahead of UTC) and some days after it (the origin may be behind, and the last of three flights departs much later).
"""

import hashlib
import math
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select, update

from flightctl.core import schedule
from flightctl.core.cache import ROUTES_SECONDS
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import LockAcquisitionFailedError, ValidationError
from flightctl.core.loading_sources import departing
from flightctl.core.model.operations import PackResult
from flightctl.core.routing import Row
from flightctl.core.routing_airport import DESTINATION, SOURCE, pack
from flightctl.core.runtime import Runtime
from flightctl.core.schema import packed_airports, packed_days, schedule_state
from flightctl.core.search import now, resolve_day
from flightctl.core.settings import Settings
from flightctl.core.sql_functions import utc_now
from flightctl.core.timetable import EARLIEST, LATEST

MAX_DAYS: Final = 366
_BEFORE: Final = 1
_BEHIND_UTC: Final = 12 * 3600
_LONG_FLIGHT: Final = 18 * 3600
"""Seconds. A search that meets a longer one may need a day more than is packed, and then reads rows."""
_ONE_DAY: Final = timedelta(days=1)
_RENEW_SECONDS: Final = ROUTES_SECONDS / 2
"""A day is packed again so long after its packing, well before searches stop believing it."""
_TRIES: Final = 5
_SOONEST: Final = 4
"""So many days, the soonest of those due, several daemons choose from: then they share the work."""
_CLAIM_SECONDS: Final = 60
"""Whoever claimed a day so long ago and has not packed it is dead: a day of the world's network takes 2 s."""
_LOOK_SECONDS: Final = 0.2
_BEHIND_CHANGES: Final = update(schedule_state).values(updated_at=utc_now())
_OF_DAY: Final = packed_days.c.utc_day == bindparam("day")
_IN_WORK: Final = (packed_days.c.claimed_at > utc_now(-_CLAIM_SECONDS)) & (
    packed_days.c.packed_at.is_(None) | (packed_days.c.packed_at < packed_days.c.claimed_at)
)
_DAY: Final = select(packed_days.c.claim, packed_days.c.digest, _IN_WORK.label("in_work")).where(_OF_DAY)
_CLAIM: Final = update(packed_days).where(_OF_DAY).values(claim=bindparam("mine"), claimed_at=utc_now())
_ADD_CLAIM: Final = insert(packed_days).values(
    utc_day=bindparam("day"), claim=bindparam("mine"), claimed_at=utc_now(), longest=0, digest=""
)
_KEEP: Final = (
    update(packed_days)
    .where(_OF_DAY, packed_days.c.claim == bindparam("mine"))
    .values(longest=bindparam("flying"), digest=bindparam("made"), packed_at=packed_days.c.claimed_at)
)
_CLEAR_AIRPORTS: Final = delete(packed_airports).where(packed_airports.c.utc_day == bindparam("day"))
_ADD_AIRPORTS: Final = insert(packed_airports)
_CLEAR_PAST: Final = [
    delete(table).where(table.c.utc_day < bindparam("day")) for table in (packed_days, packed_airports)
]
_PACKED: Final = select(
    packed_days.c.utc_day,
    or_(_IN_WORK, packed_days.c.packed_at.is_not(None) & (packed_days.c.packed_at > utc_now(-_RENEW_SECONDS))).label(
        "cared_for"
    ),
)


class PackedDay(NamedTuple):
    day: date
    """Of departures in UTC."""
    flights: int
    longest: int
    """Microseconds that the longest of them flies."""
    airports: list[tuple[str, bytes, bytes]]
    """Code, departures, arrivals."""
    digest: str


def pack_days(runtime: Runtime, *, date: str, days: int) -> PackResult:
    """Pack anew what searches for ``days`` dates from ``date`` read. Raises ValidationError, and
    LockAcquisitionFailedError for a day whose flights change all the while."""
    if not 1 <= days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {days}")
    started = time.monotonic()
    first = resolve_day(date, lambda: now(runtime), None, "--date")
    if first <= EARLIEST or days + _after(runtime.settings) > (LATEST - first).days:
        raise ValidationError(f"{days} days from {first} are out of range")
    flights = size = 0
    for day in _read_by_searches(runtime.settings, first, days):
        found = _pack(runtime, day, anew=True)
        if found is None:
            raise LockAcquisitionFailedError(
                f"the flights of {day} keep changing, or others keep packing them",
                hint="Try again when the import or seed is done.",
            )
        flights += found.flights
        size += sum(len(departures) + len(arrivals) for _, departures, arrivals in found.airports)
    return PackResult(days, flights, size, round((time.monotonic() - started) * 1000))


def keep_packed(runtime: Runtime, days: int) -> PackedDay | None:
    """Pack one day that is not packed, or was half an hour ago, of those that searches for ``days`` dates from today
    read; None when there is none, others are at it, or its flights keep changing. Days gone by are removed."""
    today, cared_for, past = runtime.database.read(_look)
    if past:
        runtime.database.run(partial(_clear_past, today - _BEFORE * _ONE_DAY))
    due = [day for day in _read_by_searches(runtime.settings, today, days) if day not in cared_for]
    return _pack(runtime, random.choice(due[:_SOONEST])) if due else None  # noqa: S311 - spreads daemons


def _look(tx: Transaction) -> tuple[date, set[date], bool]:
    """Today (UTC), the days that were packed lately or are being packed, and whether there are days gone by."""
    today = schedule.database_now(tx).date()
    rows = tx.execute(_PACKED).all()
    past = any(row.utc_day < today - _BEFORE * _ONE_DAY for row in rows)
    return today, {row.utc_day for row in rows if row.cared_for}, past


def _read_by_searches(settings: Settings, first: date, days: int) -> Iterator[date]:
    return (first + offset * _ONE_DAY for offset in range(-_BEFORE, days + _after(settings)))


def _after(settings: Settings) -> int:
    """Days after a date at the origin on which its last legs may depart."""
    seconds: float = _BEHIND_UTC + 2 * (_LONG_FLIGHT + settings["search.max_connection"])
    return math.ceil(seconds / 86400)


def _pack(runtime: Runtime, day: date, *, anew: bool = False) -> PackedDay | None:
    """None when somebody else packs it, or its flights have changed at every try.

    ``anew``: also what seems to be packed alike, and once others are through with it.
    """
    tries, patient_until = 0, time.monotonic() + 2 * _CLAIM_SECONDS
    while tries < _TRIES:
        claim = secrets.token_hex(8)
        before = runtime.database.run(partial(_claim, day, claim))
        if before is None:
            if not anew or time.monotonic() > patient_until:
                return None
            time.sleep(_LOOK_SECONDS)
            continue
        tries += 1
        # Another server of a cluster may be asked than the one that has the claim, and must know as much.
        found = runtime.database.read(partial(_read, day, claim), operation=Operation(up_to_date=True))
        if found is not None:
            alike = not anew and found.digest == before
            if runtime.database.run(partial(_store, found, claim, alike)):
                return found
    return None


def _claim(day: date, claim: str, tx: Transaction) -> str | None:
    """The digest of what is packed, empty if nothing is; None when the day is another's."""
    tx.change(_BEHIND_CHANGES)
    mine = {"day": day, "mine": claim}
    there = tx.execute(_DAY, {"day": day}).first()
    if there is None:
        tx.execute(_ADD_CLAIM, mine)
        return ""
    if there.in_work and there.claim != claim:
        return None
    tx.change(_CLAIM, mine)
    return str(there.digest)


def _read(day: date, claim: str, tx: Transaction) -> PackedDay | None:
    """None when the claim is gone already."""
    there = tx.execute(_DAY, {"day": day}).first()
    if there is None or there.claim != claim:
        return None
    leaving: dict[str, list[Row]] = {}
    entering: defaultdict[str, list[Row]] = defaultdict(list)
    start = datetime.combine(day, time_of_day(), UTC)
    longest = 0
    for airport, rows in departing(tx, start, start + _ONE_DAY):
        leaving[airport] = rows
        for row in rows:
            longest = max(longest, row[4] - row[3])
            entering[row[2]].append(row)
    airports = [
        (code, pack(leaving.get(code, ()), DESTINATION), pack(entering.get(code, ()), SOURCE))
        for code in sorted({*leaving, *entering})
    ]
    digest = hashlib.sha256()
    for code, departures, arrivals in airports:
        digest.update(code.encode() + departures + arrivals)
    return PackedDay(day, sum(map(len, leaving.values())), longest, airports, digest.hexdigest())


def _store(found: PackedDay, claim: str, alike: bool, tx: Transaction) -> bool:
    """Whether the claim was still there and the day is kept; what is packed ``alike`` is believed for another hour."""
    key = {"day": found.day}
    if tx.change(_KEEP, {**key, "mine": claim, "flying": found.longest, "made": found.digest}) == 0:
        return False
    if not alike:
        tx.change(_CLEAR_AIRPORTS, key)
        rows = [
            {"utc_day": found.day, "airport": code, "departures": departures, "arrivals": arrivals}
            for code, departures, arrivals in found.airports
        ]
        if rows:
            tx.insert(_ADD_AIRPORTS, rows)
    return True


def _clear_past(first: date, tx: Transaction) -> None:
    for statement in _CLEAR_PAST:
        tx.change(statement, {"day": first})
