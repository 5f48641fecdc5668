"""Whole days of the schedule, packed airport by airport: what a search reads of a large network in place of its rows.

**Fresh.** A packed day tells what the flights were when it was packed, and every change of the schedule that touches it
takes it away in its own transaction (``schedule.unpack``). Whoever packs a day writes it only if the schedule has not
changed since he began to read: he writes the row of ``schedule_state`` that each change writes first, so that one of
the two waits for the other or, on a cluster, loses at COMMIT. What other people's SQL does to flights is found out when
the day is packed again; an hour after its packing no search believes it any more, as with routes in Redis.

**Days** are those of departures in UTC. Searches for one date at the origin read the day before it (the origin may be
ahead of UTC) and three days after it (the origin may be behind, and of two connections and three flights the last one
departs up to two days later).
"""

import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from flightctl.core import schedule
from flightctl.core.database import Transaction
from flightctl.core.errors import LockAcquisitionFailedError, ValidationError
from flightctl.core.loading_sources import BELIEVED_SECONDS, departing
from flightctl.core.model.operations import PackResult
from flightctl.core.routing import Row
from flightctl.core.routing_airport import DESTINATION, SOURCE, pack
from flightctl.core.runtime import Runtime
from flightctl.core.schema import packed_airports, packed_days, schedule_state
from flightctl.core.search import now, resolve_day
from flightctl.core.sql_functions import utc_now
from flightctl.core.timetable import EARLIEST, LATEST

MAX_DAYS: Final = 366
_BEFORE: Final = 1
_AFTER: Final = 3
_ONE_DAY: Final = timedelta(days=1)
_RENEW_SECONDS: Final = BELIEVED_SECONDS / 2
"""A day is packed again so long after its packing, well before searches stop believing it."""
_TRIES: Final = 5
_UNCHANGED: Final = (
    update(schedule_state).where(schedule_state.c.version == bindparam("read")).values(updated_at=utc_now())
)
_DIGEST: Final = select(packed_days.c.digest).where(packed_days.c.utc_day == bindparam("day"))
_AGAIN: Final = update(packed_days).where(packed_days.c.utc_day == bindparam("day")).values(packed_at=utc_now())
_TABLES: Final = (packed_days, packed_airports)
_CLEAR: Final = [delete(table).where(table.c.utc_day == bindparam("day")) for table in _TABLES]
_CLEAR_PAST: Final = [delete(table).where(table.c.utc_day < bindparam("day")) for table in _TABLES]
_ADD_DAY: Final = insert(packed_days).values(packed_at=utc_now())
_ADD_AIRPORTS: Final = insert(packed_airports)
_PACKED: Final = select(packed_days.c.utc_day, (packed_days.c.packed_at > utc_now(-_RENEW_SECONDS)).label("fresh"))


class PackedDay(NamedTuple):
    day: date
    """Of departures in UTC."""
    version: int
    """The schedule's, read before the flights."""
    flights: int
    longest: int
    """Microseconds."""
    airports: list[tuple[str, bytes, bytes]]
    """Code, departures, arrivals."""

    @property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for code, departures, arrivals in self.airports:
            digest.update(code.encode() + departures + arrivals)
        return digest.hexdigest()


def pack_days(runtime: Runtime, *, date: str, days: int) -> PackResult:
    """Pack what searches for ``days`` dates from ``date`` read. Raises ValidationError, and LockAcquisitionFailedError
    when the schedule changes all the while."""
    if not 1 <= days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {days}")
    started = time.monotonic()
    first = resolve_day(date, lambda: now(runtime), None, "--date")
    if first <= EARLIEST or days + _AFTER > (LATEST - first).days:
        raise ValidationError(f"{days} days from {first} are out of range")
    flights = size = 0
    for day in _read_by_searches(first, days):
        found = _pack(runtime, day)
        flights += found.flights
        size += sum(len(departures) + len(arrivals) for _, departures, arrivals in found.airports)
    return PackResult(days, flights, size, round((time.monotonic() - started) * 1000))


def keep_packed(runtime: Runtime, days: int) -> PackedDay | None:
    """Pack one day that is not packed, or was half an hour ago, of those that searches for ``days`` dates from today
    read; None when there is none, or the schedule keeps changing. Days gone by are removed."""
    today, fresh, past = runtime.database.read(_look)
    if past:
        runtime.database.run(partial(_clear_past, today - _BEFORE * _ONE_DAY))
    due = [day for day in _read_by_searches(today, days) if day not in fresh]
    try:
        return _pack(runtime, random.choice(due)) if due else None  # noqa: S311 - several daemons share the work
    except LockAcquisitionFailedError:
        return None


def _look(tx: Transaction) -> tuple[date, set[date], bool]:
    """Today (UTC), the days that were packed lately, and whether there are days gone by."""
    today = schedule.database_now(tx).date()
    rows = tx.execute(_PACKED).all()
    past = any(row.utc_day < today - _BEFORE * _ONE_DAY for row in rows)
    return today, {row.utc_day for row in rows if row.fresh}, past


def _read_by_searches(first: date, days: int) -> Iterator[date]:
    return (first + offset * _ONE_DAY for offset in range(-_BEFORE, days + _AFTER))


def _pack(runtime: Runtime, day: date) -> PackedDay:
    for _ in range(_TRIES):
        found = runtime.database.read(lambda tx: _read(tx, day))
        if runtime.database.run(partial(_store, found)):
            return found
    raise LockAcquisitionFailedError(
        f"the schedule keeps changing: {day} was not packed", hint="Try again when the import or seed is done."
    )


def _read(tx: Transaction, day: date) -> PackedDay:
    version = schedule.version(tx)
    leaving: dict[str, list[Row]] = {}
    entering: defaultdict[str, list[Row]] = defaultdict(list)
    start = datetime.combine(day, time_of_day(), UTC)
    longest = 0
    for airport, rows in departing(tx, start, start + _ONE_DAY - timedelta(microseconds=1)):
        leaving[airport] = rows
        longest = max(longest, *(row[4] - row[3] for row in rows))
        for row in rows:
            entering[row[2]].append(row)
    airports = [
        (code, pack(leaving.get(code, ()), DESTINATION), pack(entering.get(code, ()), SOURCE))
        for code in sorted({*leaving, *entering})
    ]
    return PackedDay(day, version, sum(map(len, leaving.values())), longest, airports)


def _store(found: PackedDay, tx: Transaction) -> bool:
    """Whether it was kept; not if the schedule has changed since it was read."""
    if tx.change(_UNCHANGED, {"read": found.version}) == 0:
        return False
    key, digest = {"day": found.day}, found.digest
    if tx.execute(_DIGEST, key).scalar() == digest:
        tx.change(_AGAIN, key)
        return True
    for statement in _CLEAR:
        tx.change(statement, key)
    rows = [
        {"utc_day": found.day, "airport": code, "departures": departures, "arrivals": arrivals}
        for code, departures, arrivals in found.airports
    ]
    if rows:
        tx.insert(_ADD_AIRPORTS, rows)
    tx.execute(_ADD_DAY, {"utc_day": found.day, "flights": found.flights, "longest": found.longest, "digest": digest})
    return True


def _clear_past(first: date, tx: Transaction) -> None:
    for statement in _CLEAR_PAST:
        tx.change(statement, {"day": first})
