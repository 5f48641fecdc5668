"""Filling a schedule: the shipped networks or a schedule file, repeatable without duplicates."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from flightctl.core import schedule
from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.model.schedules import SeedRequest, SeedResult
from flightctl.core.model.states import FlightStatus
from flightctl.core.protection import refuse_in_production
from flightctl.core.resources import resource
from flightctl.core.routing import to_microseconds
from flightctl.core.runtime import Runtime
from flightctl.core.schema import (
    archived,
    booking_events,
    booking_flights,
    booking_requests,
    bookings,
    disruptions,
    flights,
    mock_gateway_ledger,
    packed_airports,
    payments,
    refunds,
    seat_reservations,
)
from flightctl.core.search import resolve_day
from flightctl.core.settings import Settings
from flightctl.core.timetable import EARLIEST, LATEST, Schedule, ScheduledFlight, expand, read_schedule

DATASETS: Final = {"demo": "demo.csv", "india": "india.csv", "world": "world.csv.gz"}
MAX_DAYS: Final = 366
CHUNK: Final = 5000
"""Flights per transaction: a change of the schedule waits for one chunk, not for the whole seed."""

MAX_OFFSET: Final = timedelta(hours=15)
"""A local date begins and ends at most so long before or after UTC's."""
_INSERT: Final = insert(flights)
_OF_DAY: Final = select(flights.c.flight_id, flights.c.carrier, flights.c.flight_number, flights.c.source).where(
    flights.c.departure_time.between(bindparam("earliest"), bindparam("latest")),
    flights.c.departure_date == bindparam("day"),
)

Key = tuple[str, str, str, date]
"""Carrier, number, origin and local date: what makes a flight."""
Progress = Callable[[int, int], None]
"""Called with the flights done and the flights to do."""


def refuse_seed(settings: Settings) -> None:
    """Raises EnvironmentProtectedError in production."""
    refuse_in_production(settings, "seed fills test systems; this environment is production")


def seed(runtime: Runtime, request: SeedRequest, progress: Progress | None = None) -> SeedResult:
    """Load a network's flights from ``start`` for ``days`` days.

    A flight is carrier, number, origin and local date; those there already stay as they are. Raises
    EnvironmentProtectedError in production, ValidationError for an unusable source or when no row of it is good.
    """
    refuse_seed(runtime.settings)
    if not 1 <= request.days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {request.days}")
    runtime.database.read(schedule.version)  # a network takes its time to read: not in vain where there are no tables
    source = _source(request)
    rejected = tuple((row.line, row.reason) for row in source.rejected)
    first = resolve_day(request.start, lambda: runtime.database.read(schedule.database_now), None, "--start")
    if not source.rows:
        raise ValidationError(
            f"no row of {request.file or request.dataset} is good ({len(rejected)} rejected)",
            hint="; ".join(f"line {line}: {reason}" for line, reason in rejected[:3]) or "The file has no rows.",
            details={"skipped": len(rejected)},
        )
    if first < EARLIEST or request.days > (LATEST - first).days:
        raise ValidationError(f"{request.days} days from {first} are out of range")
    if request.reset:  # only now that nothing can be refused any more
        _reset(runtime)
    last = first + timedelta(days=request.days - 1)
    total = _estimate(source, first, request.days)
    scheduled = expand(source, first, request.days)
    loaded, added = load_flights(runtime, scheduled, total, progress, republish=request.reset)
    return SeedResult(loaded, added, len(source.airports), first, last, rejected)


def _source(request: SeedRequest) -> Schedule:
    from pathlib import Path

    if request.file is not None:
        return read_schedule(Path(request.file))
    name = request.dataset.strip().lower()
    if name not in DATASETS:
        raise ValidationError(f"there is no dataset {name[:40]!r}", hint=f"Take {', '.join(DATASETS)}, or --file.")
    return read_schedule(resource(f"seed_data/{DATASETS[name]}"))


def _estimate(source: Schedule, first: date, days: int) -> int:
    """Flights to come, by the rows' days of operation: enough for a progress bar."""
    dates = [sum((first.weekday() + ahead) % 7 == weekday for ahead in range(days)) for weekday in range(7)]
    return sum(dates[day - 1] for row in source.rows for day in row.days)


def load_flights(
    runtime: Runtime,
    source: Iterator[ScheduledFlight],
    total: int,
    progress: Progress | None = None,
    *,
    republish: bool = False,
) -> tuple[int, int]:
    """Add those of the flights that are not there; how many there were, and how many were added.

    ``total`` is for ``progress``; ``republish`` the counts of added flights that Redis holds.
    """
    known = _Known()
    loaded = added = 0
    while chunk := list(islice(source, CHUNK)):
        rows, version = _add_chunk(runtime, chunk, known)
        runtime.cache.publish_schedule_version(version)
        if republish:
            _publish_known(runtime, rows)
        loaded += len(chunk)
        added += len(rows)
        if progress is not None:
            progress(loaded, max(total, loaded))
    return loaded, added


class _Known:
    """Ids and keys of the flights that are there, by date. They stay true from one chunk to the next as long as the
    schedule's version does, which every change of the schedule raises."""

    def __init__(self) -> None:
        self.version: int | None = None
        self._days: dict[date, tuple[set[str], set[Key]]] = {}

    def forget(self) -> None:
        self._days.clear()

    def of(self, tx: Transaction, day: date) -> tuple[set[str], set[Key]]:
        """For reading only: what a transaction adds is not there before its commit."""
        if day not in self._days:
            self._days[day] = _existing(tx, day)
        return self._days[day]

    def committed(self, version: int, rows: Sequence[dict[str, Any]]) -> None:
        self.version = version
        for row in rows:
            ids, keys = self._days[row["departure_date"]]
            ids.add(row["flight_id"])
            keys.add((row["carrier"], row["flight_number"], row["source"], row["departure_date"]))

    def forget_before(self, day: date) -> None:
        """Flights come by date; a whole year's keys would not fit the memory."""
        for past in [known for known in self._days if known < day]:
            del self._days[past]


def _add_chunk(runtime: Runtime, chunk: Sequence[ScheduledFlight], known: _Known) -> tuple[list[dict[str, Any]], int]:
    """Add those of the flights that are not there yet; their rows, and the schedule's new version."""

    def work(tx: Transaction) -> tuple[list[dict[str, Any]], int]:
        before = schedule.lock_version(tx)  # queues behind other changes: what is read below stays true
        if before != known.version:
            known.forget()
        version = schedule.raise_version(tx, ())
        rows = _new_rows(tx, chunk, known, to_microseconds(schedule.database_now(tx)))
        if rows:
            schedule.unpack(tx, (row["departure_time"] for row in rows))
            tx.insert(_INSERT, rows)
        return rows, version

    try:
        rows, version = runtime.database.run(work)
    except IntegrityError:  # somebody's own SQL, which does not raise the version
        known.version = None
        rows, version = runtime.database.run(work)
    known.committed(version, rows)
    known.forget_before(chunk[-1].departure_date)
    return rows, version


def _new_rows(tx: Transaction, chunk: Sequence[ScheduledFlight], known: _Known, stamp: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    added_ids: set[str] = set()
    added_keys: set[Key] = set()
    for flight in chunk:
        ids, keys = known.of(tx, flight.departure_date)
        key = (flight.carrier, flight.flight_number, flight.source, flight.departure_date)
        if key in keys or key in added_keys:
            continue
        flight_id = flight.flight_id
        if flight_id in ids or flight_id in added_ids:  # another origin's leg of the number has the short id
            flight_id = f"{flight_id}-{flight.source}"
        if flight_id in ids or flight_id in added_ids:
            continue
        added_ids.add(flight_id)
        added_keys.add(key)
        rows.append(_row(flight, flight_id, stamp))
    return rows


def _existing(tx: Transaction, day: date) -> tuple[set[str], set[Key]]:
    start = datetime.combine(day, time(), UTC)
    window = {"earliest": start - MAX_OFFSET, "latest": start + timedelta(days=1) + MAX_OFFSET, "day": day}
    ids: set[str] = set()
    keys: set[Key] = set()
    for row in tx.execute(_OF_DAY, window):
        ids.add(row.flight_id)
        keys.add((row.carrier, row.flight_number, row.source, day))
    return ids, keys


def _row(flight: ScheduledFlight, flight_id: str, stamp: int) -> dict[str, Any]:
    return {
        "flight_id": flight_id,
        "carrier": flight.carrier,
        "flight_number": flight.flight_number,
        "source": flight.source,
        "destination": flight.destination,
        "departure_time": flight.departure_time,
        "arrival_time": flight.arrival_time,
        "departure_date": flight.departure_date,
        "total_seats": flight.seats,
        "available_seats": flight.seats,
        "seat_version": stamp,
        "price": flight.price,
        "status": FlightStatus.ACTIVE.value,
    }


def _reset(runtime: Runtime) -> None:
    """Empty the schedule and everything booked on it. Counts that Redis still holds become 0 at a newer version."""

    def work(tx: Transaction) -> tuple[int, int]:
        version = schedule.raise_version(tx, None)
        # Children before parents: foreign keys hold all the while.
        for table in (
            refunds,
            payments,
            booking_events,
            seat_reservations,
            booking_flights,
            booking_requests,
            disruptions,
            bookings,
        ):
            tx.execute(delete(table))
        tx.execute(delete(mock_gateway_ledger))
        tx.execute(delete(archived))
        tx.execute(delete(packed_airports))
        tx.execute(delete(flights))
        return version, to_microseconds(schedule.database_now(tx))

    version, now = runtime.database.run(work)
    runtime.cache.publish_schedule_version(version)
    runtime.cache.publish_seats({flight_id: SeatCount(0, now) for flight_id in runtime.cache.known_flights()})


def _publish_known(runtime: Runtime, rows: Sequence[dict[str, Any]]) -> None:
    """Publish the counts of flights that Redis knew before the reset; others are filled when they are asked for."""
    fresh = {row["flight_id"]: SeatCount(row["total_seats"], row["seat_version"]) for row in rows}
    known = runtime.cache.known_flights()
    runtime.cache.publish_seats({flight_id: fresh[flight_id] for flight_id in known if flight_id in fresh})
