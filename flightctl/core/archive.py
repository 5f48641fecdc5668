"""Archiving flown flights: a booking moves with all that belongs to it, as one document, in one transaction.

A booking moves when all its flights have arrived and nothing about it is open: no hold, no payment that is not settled,
no refund that is due, no paid seat on a cancelled flight. A flight follows when nothing refers to it any more. The
invariant holds after every commit: a CONFIRMED booking that moves gives its seats back to the flight that stays behind,
whose archived record counts them.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from sqlalchemy import Table, delete, insert, or_, select, tuple_, update

from flightctl.core import inventory, schedule
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.model.operations import ArchiveResult
from flightctl.core.model.states import BookingStatus, FlightStatus, PaymentStatus, RefundStatus
from flightctl.core.network import day_anywhere
from flightctl.core.runtime import Runtime
from flightctl.core.schema import (
    archived,
    booking_flights,
    bookings,
    flights,
    metadata,
    mock_gateway_ledger,
    payments,
    refunds,
    seat_reservations,
)
from flightctl.core.search import resolve_day
from flightctl.core.sql_functions import utc_now

BATCH: Final = 200
"""Bookings or flights of one transaction: rows are locked for well under a second."""
BOOKING, FLIGHT = "booking", "flight"
_ADD: Final = insert(archived).values(archived_at=utc_now())
_OPEN: Final = tuple(
    status.value for status in (PaymentStatus.REQUESTED, PaymentStatus.PROCESSING, PaymentStatus.REFUND_DUE)
)


def archive(runtime: Runtime, *, before: str, dry_run: bool = False) -> ArchiveResult:
    """Move flights that departed before the date, and have arrived, with the bookings that are settled.

    Any number of archivers may run, be killed, or run beside everything else. Raises ValidationError for a date in the
    future.
    """
    started = time.monotonic()
    now = runtime.database.read(schedule.database_now)
    day = resolve_day(before, lambda: now, None, "--before")
    if day > now.date():
        raise ValidationError(f"--before {day} is in the future", hint="Only flown flights are archived.")
    moved: Counter[str] = Counter()
    kept: set[str] = set()
    for page in _flown(runtime, day):
        booking_ids = runtime.database.read(partial(_booked_on, flight_ids=page))
        for start in range(0, len(booking_ids), BATCH):
            batch = booking_ids[start : start + BATCH]
            done = _settled(runtime, batch, day) if dry_run else _archive_bookings(runtime, batch, day)
            moved[BOOKING] += len(done)
            kept.update(set(batch).difference(done))
        moved[FLIGHT] += _free_of(runtime, page, kept) if dry_run else _archive_flights(runtime, page)
    return ArchiveResult(moved[FLIGHT], moved[BOOKING], len(kept), day, round((time.monotonic() - started) * 1000))


def _flown(runtime: Runtime, day: date) -> Iterator[list[str]]:
    """Ids of flights to move, oldest first, page by page; a flight that stays is met once."""
    after: tuple[datetime, str] | None = None
    while True:
        query = select(flights.c.flight_id, flights.c.departure_time).where(
            flights.c.departure_date < day,
            flights.c.departure_time < day_anywhere(day)[1] - timedelta(days=1),  # says no more, but has an index
            flights.c.arrival_time <= utc_now(),
        )
        if after is not None:
            query = query.where(tuple_(flights.c.departure_time, flights.c.flight_id) > after)
        query = query.order_by(flights.c.departure_time, flights.c.flight_id).limit(BATCH)
        rows = runtime.database.read(lambda tx, query=query: tx.execute(query).all())  # type: ignore[misc]
        if not rows:
            return
        after = (rows[-1].departure_time, rows[-1].flight_id)
        yield [row.flight_id for row in rows]


def _booked_on(tx: Transaction, flight_ids: Sequence[str]) -> list[str]:
    on_them = select(booking_flights.c.booking_id).where(booking_flights.c.flight_id.in_(flight_ids)).distinct()
    return sorted(tx.execute(on_them).scalars())


def _settled(runtime: Runtime, booking_ids: Sequence[str], day: date) -> list[str]:
    return runtime.database.read(lambda tx: sorted(set(booking_ids) - _open(tx, booking_ids, day)))


def _open(tx: Transaction, booking_ids: Sequence[str], day: date) -> set[str]:
    """The bookings about which something is still to be done, or that fly again."""
    still = (
        select(bookings.c.booking_id).where(
            bookings.c.booking_id.in_(booking_ids), bookings.c.status == BookingStatus.PENDING.value
        ),
        select(seat_reservations.c.booking_id).where(
            seat_reservations.c.booking_id.in_(booking_ids), seat_reservations.c.deleted_at.is_(None)
        ),
        select(payments.c.booking_id).where(
            payments.c.booking_id.in_(booking_ids),
            or_(payments.c.status.in_(_OPEN), payments.c.claimed_until.is_not(None)),
        ),
        select(payments.c.booking_id)
        .join(refunds, refunds.c.payment_id == payments.c.payment_id)
        .where(payments.c.booking_id.in_(booking_ids), refunds.c.status == RefundStatus.DUE.value),
        select(booking_flights.c.booking_id)
        .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
        .where(
            booking_flights.c.booking_id.in_(booking_ids),
            or_(flights.c.departure_date >= day, flights.c.arrival_time > utc_now()),
        ),
        # Paid for a flight that never flew: it was to be moved, or a cancellation has not come to its end.
        select(bookings.c.booking_id)
        .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
        .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
        .where(
            bookings.c.booking_id.in_(booking_ids),
            bookings.c.status == BookingStatus.CONFIRMED.value,
            flights.c.status != FlightStatus.ACTIVE.value,
        ),
        # An older booking had the same locator: the archive has one place for it.
        select(archived.c.id).where(archived.c.kind == BOOKING, archived.c.id.in_(booking_ids)),
    )
    return {booking_id for query in still for booking_id in tx.execute(query).scalars()}


def _archive_bookings(runtime: Runtime, booking_ids: Sequence[str], day: date) -> list[str]:
    """Move those that are settled, in one transaction; returns them."""
    legs = select(booking_flights.c.flight_id).where(booking_flights.c.booking_id.in_(booking_ids)).distinct()
    flight_ids = runtime.database.read(lambda tx: sorted(tx.execute(legs).scalars()))

    def work(tx: Transaction) -> list[str]:
        lock = select(bookings).where(bookings.c.booking_id.in_(booking_ids)).order_by(bookings.c.booking_id)
        rows = tx.execute(lock.with_for_update()).all()
        still_open = _open(tx, booking_ids, day)
        moving = {row.booking_id: row for row in rows if row.booking_id not in still_open}
        if moving:
            _move(tx, moving)
        elif tx.operation.commit_unknown:  # a COMMIT without an answer has done it
            return _in_archive(tx, booking_ids)
        return list(moving)

    return inventory.change_seats(runtime, flight_ids, work, Operation()) if flight_ids else []


def _in_archive(tx: Transaction, booking_ids: Sequence[str]) -> list[str]:
    there = select(archived.c.id).where(archived.c.kind == BOOKING, archived.c.id.in_(booking_ids))
    return list(tx.execute(there).scalars())


def _move(tx: Transaction, moving: Mapping[str, Any]) -> None:
    family = _family(tx, bookings, list(moving.values()))
    legs = family[booking_flights]
    on_flight = {row.flight_id for row in legs}
    lock = select(flights).where(flights.c.flight_id.in_(on_flight)).order_by(flights.c.flight_id).with_for_update()
    flown = {row.flight_id: row for row in tx.execute(lock)}
    tx.execute(_ADD, [_booking_record(row, family, flown) for row in moving.values()])
    sold: Counter[str] = Counter()
    for leg in legs:
        booking = moving[leg.booking_id]
        sold[leg.flight_id] += booking.seats if booking.status == BookingStatus.CONFIRMED.value else 0
    for flight_id, row in sorted(flown.items()):
        _count(tx, row, sold[flight_id])
    for table in reversed(metadata.sorted_tables):  # children before parents
        _delete(tx, table, family.get(table, ()))
    inventory.give_back(tx, {flight_id: seats for flight_id, seats in sold.items() if seats})


def _family(tx: Transaction, table: Table, rows: Sequence[Any]) -> dict[Table, list[Any]]:
    """The rows and, by the foreign keys that there are, all that hang on them; and the mock gateway's answers."""
    found: dict[Table, list[Any]] = {table: list(rows)}
    queue = [table]
    while queue:
        parent = queue.pop(0)
        for child in metadata.sorted_tables:
            for key in child.foreign_keys:
                if key.column.table is parent and found[parent]:
                    parents = [row._mapping[key.column.name] for row in found[parent]]
                    query = select(child).where(key.parent.in_(parents)).order_by(*child.primary_key.columns)
                    found[child] = list(tx.execute(query).all())
                    queue.append(child)
    asked = [row.payment_id for row in found.get(payments, ())] + [row.refund_id for row in found.get(refunds, ())]
    answers = select(mock_gateway_ledger).where(mock_gateway_ledger.c.request_id.in_(asked))
    found[mock_gateway_ledger] = list(tx.execute(answers).all()) if asked else []
    return found


def _booking_record(row: Any, family: Mapping[Table, Sequence[Any]], flown: Mapping[str, Any]) -> dict[str, Any]:
    own: dict[str, list[dict[str, Any]]] = {}
    payment_ids = {payment.payment_id for payment in family.get(payments, ()) if payment.booking_id == row.booking_id}
    refund_ids = {refund.refund_id for refund in family.get(refunds, ()) if refund.payment_id in payment_ids}
    for table, rows in family.items():
        for one in rows:
            values = one._mapping
            if (
                values.get("booking_id") == row.booking_id
                or values.get("payment_id") in payment_ids
                or values.get("request_id") in payment_ids | refund_ids
            ):
                own.setdefault(table.name, []).append(dict(values))
    days = [flown[leg["flight_id"]].departure_date for leg in own[booking_flights.name]]
    return _record(BOOKING, row.booking_id, max(days), row.seats, own)


def _record(kind: str, key: str, day: date, seats: int, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": key,
        "departure_date": day,
        "seats": seats,
        "document": json.dumps(document, default=_plain, ensure_ascii=False),
    }


def _plain(value: Any) -> str:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    assert isinstance(value, Decimal), value
    return str(value)


def _count(tx: Transaction, flight: Any, sold: int) -> None:
    """The flight's archived record: made by the first booking that leaves it, and counting the seats of them all."""
    mine = (archived.c.kind == FLIGHT) & (archived.c.id == flight.flight_id)
    document = {flights.name: [dict(flight._mapping)]}
    record = _record(FLIGHT, flight.flight_id, flight.departure_date, sold, document)
    if tx.execute(select(archived.c.id).where(mine)).first() is None:  # the flight's own row is locked
        tx.execute(_ADD, record)
    else:
        tx.change(update(archived).where(mine).values(seats=archived.c.seats + sold, document=record["document"]))


def _delete(tx: Transaction, table: Table, rows: Iterable[Any]) -> None:
    key = list(table.primary_key.columns)
    keys = [tuple(row._mapping[column.name] for column in key) for row in rows]
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        where = key[0].in_([one[0] for one in part]) if len(key) == 1 else tuple_(*key).in_(part)
        tx.change(delete(table).where(where))


def _archive_flights(runtime: Runtime, flight_ids: Sequence[str]) -> int:
    """Move those that nothing refers to any more; returns how many."""

    def work(tx: Transaction) -> int:
        lock = select(flights).where(flights.c.flight_id.in_(flight_ids)).order_by(flights.c.flight_id)
        rows = tx.execute(lock.with_for_update()).all()
        used = _used(tx, flight_ids)
        free = [row for row in rows if row.flight_id not in used]
        for row in free:
            _count(tx, row, 0)
        _delete(tx, flights, free)
        return len(free)

    return runtime.database.run(work)


def _used(tx: Transaction, flight_ids: Sequence[str]) -> set[str]:
    return {
        flight_id
        for table in metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table is flights
        for flight_id in tx.execute(select(key.parent).where(key.parent.in_(flight_ids)).distinct()).scalars()
    }


def _free_of(runtime: Runtime, flight_ids: Sequence[str], kept: set[str]) -> int:
    """How many of the flights no booking that stays is on."""
    on = select(booking_flights.c.flight_id, booking_flights.c.booking_id).where(
        booking_flights.c.flight_id.in_(flight_ids)
    )
    rows = runtime.database.read(lambda tx: tx.execute(on).all())
    return len(set(flight_ids) - {row.flight_id for row in rows if row.booking_id in kept})
