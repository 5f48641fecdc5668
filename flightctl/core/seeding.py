"""Filling a schedule: the shipped networks or a schedule file, repeatable without duplicates."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import delete, insert, select

from flightctl.core import schedule
from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.errors import EnvironmentProtectedError, ValidationError
from flightctl.core.model import FlightStatus, SeedRequest, SeedResult
from flightctl.core.resources import resource
from flightctl.core.routing import to_microseconds
from flightctl.core.runtime import Runtime
from flightctl.core.schema import (
    booking_events,
    booking_flights,
    bookings,
    flights,
    mock_gateway_ledger,
    payments,
    refunds,
    seat_reservations,
)
from flightctl.core.search import resolve_day
from flightctl.core.timetable import EARLIEST, LATEST, Schedule, ScheduledFlight, expand, read_schedule

DATASETS: Final = {"demo": "demo.csv", "india": "india.csv", "world": "world.csv.gz"}
MAX_DAYS: Final = 366
_CHUNK: Final = 5000
"""Flights per transaction: a change of the schedule waits for one chunk, not for the whole seed."""

Progress = Callable[[int, int], None]
"""Called with the flights done and the flights to do."""


def seed(runtime: Runtime, request: SeedRequest, progress: Progress | None = None) -> SeedResult:
    """Load a network's flights from ``start`` for ``days`` days.

    A flight is carrier, number, origin and local date; those there already stay as they are. Raises
    EnvironmentProtectedError in production, ValidationError for an unusable source or when no row of it is good.
    """
    if runtime.settings.production:
        raise EnvironmentProtectedError("seed fills test systems; this environment is production")
    if not 1 <= request.days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {request.days}")
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
    weekdays = [(first + timedelta(days=offset)).isoweekday() for offset in range(days)]
    return sum(sum(day in row.days for day in weekdays) for row in source.rows)


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
    loaded = added = 0
    while chunk := list(islice(source, _CHUNK)):
        fresh, version = runtime.database.run(lambda tx, chunk=chunk: _add_chunk(tx, chunk))  # type: ignore[misc]
        runtime.cache.publish_schedule_version(version)
        if republish:
            _publish_known(runtime, fresh)
        loaded += len(chunk)
        added += len(fresh)
        if progress is not None:
            progress(loaded, max(total, loaded))
    return loaded, added


def _add_chunk(tx: Transaction, chunk: Sequence[ScheduledFlight]) -> tuple[dict[str, SeatCount], int]:
    """Add those of the flights that are not there yet; their counts, and the schedule's new version."""
    version = schedule.raise_version(tx)  # queues behind other changes: what is read below stays true
    known_ids, known_keys = _existing(tx, chunk)
    stamp = to_microseconds(schedule.database_now(tx))
    rows: list[dict[str, Any]] = []
    for flight in chunk:
        key = (flight.carrier, flight.flight_number, flight.source, flight.departure_date)
        if key in known_keys:
            continue
        flight_id = flight.flight_id
        if flight_id in known_ids:  # another origin's leg of the same number is there under the short id
            flight_id = f"{flight_id}-{flight.source}"
        if flight_id in known_ids:
            continue
        known_ids.add(flight_id)
        known_keys.add(key)
        rows.append(_row(flight, flight_id, stamp))
    if rows:
        tx.execute(insert(flights), rows)
    return {row["flight_id"]: SeatCount(row["total_seats"], stamp) for row in rows}, version


def _existing(tx: Transaction, chunk: Sequence[ScheduledFlight]) -> tuple[set[str], set[tuple[str, str, str, date]]]:
    earliest = min(flight.departure_time for flight in chunk) - timedelta(days=2)
    latest = max(flight.departure_time for flight in chunk) + timedelta(days=2)
    columns = (
        flights.c.flight_id,
        flights.c.carrier,
        flights.c.flight_number,
        flights.c.source,
        flights.c.departure_date,
    )
    ids: set[str] = set()
    keys: set[tuple[str, str, str, date]] = set()
    for row in tx.execute(select(*columns).where(flights.c.departure_time.between(earliest, latest))):
        ids.add(row.flight_id)
        keys.add((row.carrier, row.flight_number, row.source, row.departure_date))
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
        version = schedule.raise_version(tx)
        # Children before parents: foreign keys hold all the while.
        for table in (refunds, payments, booking_events, seat_reservations, booking_flights, bookings):
            tx.execute(delete(table))
        tx.execute(delete(mock_gateway_ledger))
        tx.execute(delete(flights))
        return version, to_microseconds(schedule.database_now(tx))

    version, now = runtime.database.run(work)
    runtime.cache.publish_schedule_version(version)
    runtime.cache.publish_seats({flight_id: SeatCount(0, now) for flight_id in runtime.cache.known_flights()})


def _publish_known(runtime: Runtime, fresh: dict[str, SeatCount]) -> None:
    """Publish the counts of flights that Redis knew before the reset; others are filled when they are asked for."""
    known = runtime.cache.known_flights()
    runtime.cache.publish_seats({flight_id: fresh[flight_id] for flight_id in known if flight_id in fresh})
