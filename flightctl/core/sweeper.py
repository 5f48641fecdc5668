"""Expiring what has lapsed: whole bookings, in batches, each batch one transaction that checks everything again.

Any number of sweepers may run, be killed at any point, or race with confirm and release: what a batch read outside its
transaction is only a list of candidates; the booking's row lock and state decide.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, literal, select, tuple_

from flightctl.core import inventory, records, reservations
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import (
    DatabaseUnavailableError,
    FlightctlError,
    LockAcquisitionFailedError,
    OutcomeUnknownError,
    SchemaMismatchError,
    ValidationError,
)
from flightctl.core.flight_endings import SWEEPER, finish_cancels
from flightctl.core.index_hints import by_booking
from flightctl.core.model.operations import SweepResult
from flightctl.core.model.states import BookingStatus, HoldOutcome
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_events, booking_flights, bookings, flights, seat_reservations
from flightctl.core.sql_functions import utc_now

REASON: Final = "the hold expired"
MAX_BATCH: Final = 10_000
_BATCHES_A_PAGE: Final = 20
"""Batches that are drawn from one look: enough to put bookings of the same flight together, few enough to keep."""

_LAPSE_COLUMNS: Final = (seat_reservations.c.expires_at, seat_reservations.c.id)
_LAPSE: Final = tuple_(*_LAPSE_COLUMNS)
_CANDIDATES: Final = (
    select(
        seat_reservations.c.booking_id,
        seat_reservations.c.flight_id,
        seat_reservations.c.expires_at,
        seat_reservations.c.id,
    )
    .where(
        seat_reservations.c.deleted_at.is_(None),
        seat_reservations.c.expires_at <= bindparam("cutoff", type_=seat_reservations.c.expires_at.type),
    )
    .order_by(seat_reservations.c.expires_at, seat_reservations.c.id)
)
_FLIGHTS: Final = (
    select(booking_flights.c.flight_id)
    .where(booking_flights.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .distinct()
)
# Booking rows first, in sorted order, then their holds: STRAIGHT_JOIN keeps the server from turning that round.
_LOCK: Final = by_booking(
    seat_reservations,
    by_booking(
        bookings,
        select(
            bookings.c.booking_id,
            bookings.c.status,
            seat_reservations.c.flight_id,
            seat_reservations.c.seats,
            (seat_reservations.c.expires_at <= utc_now()).label("lapsed"),
        )
        .join(seat_reservations, seat_reservations.c.booking_id == bookings.c.booking_id)
        .where(
            bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
            seat_reservations.c.deleted_at.is_(None),
        )
        .order_by(bookings.c.booking_id)
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
        .with_for_update(),
    ),
)
_LOCK_FREE: Final = (
    select(bookings.c.booking_id)
    .where(bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .order_by(bookings.c.booking_id)
    .with_for_update(skip_locked=True)
)
_LOCK_FREE_FLIGHTS: Final = (
    select(flights.c.flight_id)
    .where(flights.c.flight_id.in_(bindparam("flight_ids", expanding=True)))
    .order_by(flights.c.flight_id)
    .with_for_update(skip_locked=True)
)
_LEGS: Final = select(booking_flights.c.booking_id, booking_flights.c.flight_id).where(
    booking_flights.c.booking_id.in_(bindparam("booking_ids", expanding=True))
)
_STILL_OPEN: Final = (
    select(seat_reservations.c.booking_id)
    .where(
        seat_reservations.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
        seat_reservations.c.deleted_at.is_(None),
    )
    .distinct()
)
_NO_SKIP_LOCKED: Final = 1064
"""MariaDB before 10.6 does not know the words."""
_NOW: Final = select(utc_now())


@dataclass(slots=True)
class _Tally:
    bookings: int = 0
    reservations: int = 0
    seats: int = 0
    flights: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    """Bookings whose rows somebody else kept: another sweep, most likely, that ends them itself."""

    def add(self, other: "_Tally") -> None:
        self.bookings += other.bookings
        self.reservations += other.reservations
        self.seats += other.seats
        self.flights |= other.flights
        self.skipped += other.skipped
        self.busy += other.busy


def sweep(
    runtime: Runtime,
    *,
    batch_size: int | None = None,
    dry_run: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Expire every booking whose hold had lapsed when the sweep began, and finish what a killed flight cancel left.

    ``batch_size`` is bookings per transaction; ``stopping`` ends the sweep between batches. A booking that cannot be
    swept is named in ``skipped``. Raises ValidationError and what ``Database.run`` raises.
    """
    size = runtime.settings["sweep.batch_size"] if batch_size is None else batch_size
    if not 1 <= size <= MAX_BATCH:
        raise ValidationError(f"--batch-size goes from 1 to {MAX_BATCH}, not {size}")
    started = time.monotonic()
    cutoff = runtime.database.read(_clock)
    if dry_run:
        tally = runtime.database.read(lambda tx: _count_lapsed(tx, cutoff))
    else:
        tally = _sweep_lapsed(runtime, cutoff, size, stopping)
        tally.skipped += finish_cancels(runtime, stopping)
    return SweepResult(
        expired_bookings=tally.bookings,
        expired_reservations=tally.reservations,
        seats_released=tally.seats,
        flights=len(tally.flights),
        took_ms=round((time.monotonic() - started) * 1000),
        skipped=tuple(tally.skipped),
    )


def _clock(tx: Transaction) -> datetime:
    now: datetime = tx.execute(_NOW).scalar_one()
    return now


def _sweep_lapsed(runtime: Runtime, cutoff: datetime, size: int, stopping: Callable[[], bool]) -> _Tally:
    total = _Tally()
    for booking_ids in _batches(runtime, cutoff, size):
        if stopping():
            break
        total.add(_expire_batch(runtime, booking_ids, patient=not total.busy))
    total.skipped += [f"{booking}: its rows stayed locked by others" for booking in _still_open(runtime, total.busy)]
    return total


def _still_open(runtime: Runtime, booking_ids: Sequence[str]) -> list[str]:
    if not booking_ids:
        return []
    return runtime.database.read(
        lambda tx: sorted(tx.execute(_STILL_OPEN, {"booking_ids": list(booking_ids)}).scalars())
    )


def sweep_booking(runtime: Runtime, booking_id: str) -> bool:
    """Expire this one booking if its hold has lapsed; False when there was nothing to end."""
    return _expire_batch(runtime, [booking_id]).bookings == 1


def _batches(runtime: Runtime, cutoff: datetime, size: int) -> Iterator[list[str]]:
    after: tuple[datetime, int] | None = None
    while page := _lapsed(runtime, cutoff, after, size * _BATCHES_A_PAGE):
        after = (page[-1].expires_at, page[-1].id)
        yield from _by_flight(page, size)


def _by_flight(page: Sequence[Any], size: int) -> Iterator[list[str]]:
    """The page's bookings in batches, those of one flight together: a batch then locks and changes few flights."""
    first_flight: dict[str, str] = {}
    for row in page:
        first_flight[row.booking_id] = min(row.flight_id, first_flight.get(row.booking_id, row.flight_id))
    ids = sorted(first_flight, key=lambda booking_id: (first_flight[booking_id], booking_id))
    for start in range(0, len(ids), size):
        yield sorted(ids[start : start + size])


def _lapsed(runtime: Runtime, cutoff: datetime, after: tuple[datetime, int] | None, limit: int) -> list[Any]:
    """The next ``limit`` lapsed reservations behind ``after``: what cannot be swept is passed, not met again."""
    query = _CANDIDATES.limit(limit)
    if after is not None:
        query = query.where(tuple_(*(literal(v, c.type) for v, c in zip(after, _LAPSE_COLUMNS, strict=True))) < _LAPSE)
    return runtime.database.read(lambda tx: list(tx.execute(query, {"cutoff": cutoff}).all()))


def _expire_batch(runtime: Runtime, booking_ids: Sequence[str], *, patient: bool = True) -> _Tally:
    """Expire a batch; when it fails as a whole, each booking by itself, so that one bad booking stops no other.

    When others keep rows of it, those that are free, all at once; and when that happened before (not ``patient``),
    without waiting. A sweep behind one that hangs would else take an hour, and cron would start sixty.
    """
    flight_ids: Sequence[str] = ()
    if runtime.cache.configured:  # who else would ask for their locks and counts
        flight_ids = runtime.database.read(
            lambda tx: tx.execute(_FLIGHTS, {"booking_ids": list(booking_ids)}).scalars().all()
        )
    if not patient and (free := _expire_what_is_free(runtime, sorted(flight_ids), booking_ids)) is not None:
        return free
    try:
        return inventory.change_seats(runtime, sorted(flight_ids), lambda tx: _expire(tx, booking_ids), Operation())
    except (DatabaseUnavailableError, SchemaMismatchError, OutcomeUnknownError):
        raise
    except FlightctlError as error:
        if isinstance(error, LockAcquisitionFailedError):
            if runtime.database.embedded:  # its lock is of the whole file
                raise
            if (free := _expire_what_is_free(runtime, sorted(flight_ids), booking_ids)) is not None:
                return free
        if len(booking_ids) == 1:
            return _Tally(skipped=[f"{booking_ids[0]}: {error.message}"])
    total = _Tally()
    for booking_id in booking_ids:
        total.add(_expire_batch(runtime, [booking_id]))
    return total


def _expire(tx: Transaction, booking_ids: Sequence[str]) -> _Tally:
    """The transaction: lock, test again that each booking is PENDING and lapsed, end everything that belongs to it."""
    if tx.operation.commit_unknown and (done := _done_before(tx, booking_ids)):
        return done
    open_holds = tx.execute(_LOCK, {"booking_ids": list(booking_ids)}).all()
    lapsed = {hold.booking_id: hold.status for hold in open_holds if hold.lapsed}
    ending = sorted(booking for booking, status in lapsed.items() if status == BookingStatus.PENDING.value)
    skipped = [
        f"{booking}: it has an open hold although it is {status}"
        for booking, status in sorted(lapsed.items())
        if status != BookingStatus.PENDING.value
    ]
    if not ending:
        return _Tally(skipped=skipped)
    chosen = set(ending)
    holds = [hold for hold in open_holds if hold.booking_id in chosen]
    freed: Counter[str] = Counter()
    for hold in holds:
        freed[hold.flight_id] += hold.seats
    reservations.end(tx, ending, HoldOutcome.EXPIRED)
    records.cancel_requested(tx, ending)
    reasons = dict.fromkeys(ending, REASON)
    records.move_many(tx, reasons, BookingStatus.PENDING, BookingStatus.EXPIRED, actor=SWEEPER, failure=REASON)
    inventory.give_back(tx, freed)
    return _Tally(len(ending), len(holds), sum(freed.values()), set(freed), skipped)


def _expire_what_is_free(runtime: Runtime, flight_ids: Sequence[str], booking_ids: Sequence[str]) -> _Tally | None:
    """None where the server cannot pass over locked rows."""

    def work(tx: Transaction) -> _Tally:
        if tx.operation.commit_unknown and (done := _done_before(tx, booking_ids)):
            return done
        free = set(tx.execute(_LOCK_FREE, {"booking_ids": list(booking_ids)}).scalars())
        legs = tx.execute(_LEGS, {"booking_ids": sorted(free)}).all()
        wanted = sorted({leg.flight_id for leg in legs})
        unlocked = set(tx.execute(_LOCK_FREE_FLIGHTS, {"flight_ids": wanted}).scalars())
        free -= {leg.booking_id for leg in legs if leg.flight_id not in unlocked}
        tally = _expire(tx, sorted(free)) if free else _Tally()
        tally.busy += sorted(set(booking_ids) - free)
        return tally

    try:
        return inventory.change_seats(runtime, flight_ids, work, Operation())
    except LockAcquisitionFailedError:
        return _Tally(busy=list(booking_ids))
    except DatabaseUnavailableError as error:
        if error.details.get("databaseError") != _NO_SKIP_LOCKED:
            raise
        return None


def _done_before(tx: Transaction, booking_ids: Sequence[str]) -> _Tally | None:
    """What an earlier try of this batch ended, when its COMMIT got no answer but had happened."""
    ours = (
        select(booking_events.c.booking_id)
        .where(
            booking_events.c.booking_id.in_(booking_ids),
            booking_events.c.operation_id == tx.operation.id,
            booking_events.c.to_status == BookingStatus.EXPIRED.value,
        )
        .distinct()
    )
    ended = list(tx.execute(ours).scalars())
    holds = tx.execute(
        select(seat_reservations.c.flight_id, seat_reservations.c.seats).where(
            seat_reservations.c.booking_id.in_(ended),
            seat_reservations.c.outcome == HoldOutcome.EXPIRED.value,
        )
    ).all()
    if not ended:
        return None
    return _Tally(len(ended), len(holds), sum(hold.seats for hold in holds), {hold.flight_id for hold in holds})


def _count_lapsed(tx: Transaction, cutoff: datetime) -> _Tally:
    pending = (
        _CANDIDATES.join(bookings, bookings.c.booking_id == seat_reservations.c.booking_id)
        .where(bookings.c.status == BookingStatus.PENDING.value)
        .add_columns(seat_reservations.c.seats, seat_reservations.c.flight_id)
    )
    rows = tx.execute(pending, {"cutoff": cutoff}).all()
    return _Tally(
        len({row.booking_id for row in rows}),
        len(rows),
        sum(row.seats for row in rows),
        {row.flight_id for row in rows},
    )
