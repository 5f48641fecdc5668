"""Holds that are running: listed with the time they have left, and extended, one or all.

A hold never outlives a departure of its booking, nor a day in all. The database's clock decides what has lapsed; who
has lost to the sweep, or was paid meanwhile, finds that out under the lock of the booking's row.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from flightctl.core import inventory, lists, records, reservations
from flightctl.core.booking import MAX_HOLD_SECONDS
from flightctl.core.database import Conflict, Operation, Transaction
from flightctl.core.durations import format_duration
from flightctl.core.errors import (
    HoldExpiredError,
    InvalidStateError,
    LockAcquisitionFailedError,
    ValidationError,
)
from flightctl.core.identifiers import normal_id, storable
from flightctl.core.model.bookings import ChangeResult, ExtendResult, Hold, Skipped
from flightctl.core.model.pages import Page
from flightctl.core.model.states import BookingStatus
from flightctl.core.prepared import Step
from flightctl.core.records import Locked
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, seat_reservations
from flightctl.core.sql_functions import utc_now

BATCH: Final = 200
"""Bookings a transaction: their flights are locked for buyers meanwhile."""
LAPSED: Final = "its hold has lapsed"
AT_LIMIT: Final = "its hold goes as far as it may already: to the departure, or a day in all"

_OPEN: Final = seat_reservations.c.deleted_at.is_(None)
_HOLDS: Final = (
    select(
        bookings.c.booking_id,
        bookings.c.user_id,
        bookings.c.flight_identifier,
        bookings.c.seats,
        bookings.c.created_at,
        func.min(seat_reservations.c.expires_at).label("expires_at"),
        utc_now().label("now"),
    )
    .join(seat_reservations, seat_reservations.c.booking_id == bookings.c.booking_id)
    .where(bookings.c.status == BookingStatus.PENDING.value, _OPEN)
    .group_by(
        bookings.c.booking_id,
        bookings.c.user_id,
        bookings.c.flight_identifier,
        bookings.c.seats,
        bookings.c.created_at,
    )
)
# No EXISTS: MariaDB may answer that by reading every hold there ever was.
_HELD: Final = (
    select(func.count()).where(seat_reservations.c.booking_id == bookings.c.booking_id, _OPEN).scalar_subquery()
) > 0
_NEXT: Final = (
    select(bookings.c.booking_id)
    .where(
        bookings.c.status == BookingStatus.PENDING.value,
        bookings.c.created_at <= bindparam("cutoff", type_=bookings.c.created_at.type),
        bookings.c.booking_id > bindparam("after"),
        _HELD,
    )
    .order_by(bookings.c.booking_id)
    .limit(BATCH)
)


def list_holds(runtime: Runtime, *, flight: str | None, user: str | None, page: int, size: int) -> Page:
    """PENDING bookings that hold seats, newest first. Raises ValidationError."""
    query = _HOLDS
    if user is not None:
        query = query.where(bookings.c.user_id == storable(user.strip()))
    if flight is not None:
        on_flight = select(booking_flights.c.booking_id).where(booking_flights.c.flight_id == normal_id(flight))
        query = query.where(bookings.c.booking_id.in_(on_flight))
    order = (bookings.c.created_at.desc(), bookings.c.booking_id.desc())
    return lists.page_of(runtime, query, order, page, size, _to_holds)


def _to_holds(tx: Transaction, rows: Sequence[Any]) -> Iterator[Hold]:
    legs = records.legs_of(tx, [row.booking_id for row in rows]) if rows else {}
    for row in rows:
        yield Hold(
            booking_id=row.booking_id,
            user_id=row.user_id,
            flight_identifier=row.flight_identifier,
            flight_ids=legs[row.booking_id],
            seats=row.seats,
            created_at=row.created_at,
            expires_at=row.expires_at,
            seconds_left=max(0, int((row.expires_at - row.now).total_seconds())),
        )


def extend(runtime: Runtime, booking_id: str, *, by_seconds: float, reason: str | None) -> ChangeResult:
    """Let a PENDING booking's hold run longer, at most to its first departure and for a day in all.

    ``changed`` is False when it ran to that limit before. Raises ValidationError, BookingNotFoundError,
    HoldExpiredError (lapsed, swept or not), InvalidStateError (the booking holds nothing any more).
    """
    _check_duration(by_seconds)
    booking_id = normal_id(booking_id)

    def work(tx: Transaction) -> ChangeResult:
        booking = records.lock_booking(tx, booking_id)
        if records.done_before(tx, booking.id):
            return ChangeResult(records.to_booking(tx, booking.row), True)
        _refuse_unheld(booking)
        longer, skipped = _extend(tx, [booking.id], by_seconds, reason, runtime.actor)
        if any(passed.reason == LAPSED for passed in skipped):
            raise _expired(booking)
        return ChangeResult(records.load_booking(tx, booking.id), bool(longer))

    return runtime.database.run(work, operation=Operation())


def _check_duration(seconds: float) -> None:
    if not 1 <= seconds <= MAX_HOLD_SECONDS:
        raise ValidationError("--by goes from 1s to 24h")


def _refuse_unheld(booking: Locked) -> None:
    if booking.status is BookingStatus.EXPIRED:
        raise _expired(booking)
    if booking.status is not BookingStatus.PENDING:
        raise InvalidStateError(
            f"booking {booking.id} is {booking.status.value}: it has no hold that could be extended",
            details={"bookingId": booking.id, "status": booking.status.value},
        )


def _expired(booking: Locked) -> HoldExpiredError:
    return HoldExpiredError(
        f"the hold of booking {booking.id} has lapsed; nothing was extended",
        hint="Book again; a payment that comes all the same takes the seats where they can be had.",
        details={"bookingId": booking.id, "status": booking.status.value},
    )


def extend_all(runtime: Runtime, *, by_seconds: float, reason: str | None) -> ExtendResult:
    """Let every hold there is run longer, in batches of bounded size. Raises ValidationError."""
    _check_duration(by_seconds)
    cutoff: datetime = runtime.database.read(lambda tx: tx.execute(select(utc_now())).scalar_one())
    extended, skipped, failed = 0, list[Skipped](), list[Skipped]()
    after = ""
    while ids := runtime.database.read(
        lambda tx, after=after: tx.execute(_NEXT, {"cutoff": cutoff, "after": after}).scalars().all()  # type: ignore[misc]
    ):
        after = ids[-1]
        part = _extend_batch(runtime, ids, by_seconds, reason)
        extended += part.extended
        skipped += part.skipped
        failed += part.failed
    return ExtendResult(extended, tuple(skipped), tuple(failed))


def _extend_batch(runtime: Runtime, ids: Sequence[str], by_seconds: float, reason: str | None) -> ExtendResult:
    """One transaction; when others keep its rows locked, one for each booking, so that one of them stops no other."""

    def work(tx: Transaction) -> ExtendResult:
        longer, skipped = _extend(tx, ids, by_seconds, reason, runtime.actor)
        return ExtendResult(len(longer), tuple(skipped))

    try:
        return runtime.database.run(work, operation=Operation())
    except LockAcquisitionFailedError as error:
        if len(ids) == 1:
            return ExtendResult(0, failed=(Skipped(ids[0], error.message),))
    parts = [_extend_batch(runtime, [booking_id], by_seconds, reason) for booking_id in ids]
    return ExtendResult(
        sum(part.extended for part in parts),
        tuple(skipped for part in parts for skipped in part.skipped),
        tuple(failed for part in parts for failed in part.failed),
    )


def _extend(
    tx: Transaction, ids: Sequence[str], by_seconds: float, reason: str | None, actor: str
) -> tuple[list[str], list[Skipped]]:
    """The transaction: lock bookings, flights and holds, in that order and sorted, and look before each change."""
    states = records.lock_states(tx, ids)
    waiting = [one for one in sorted(states) if states[one] is BookingStatus.PENDING]
    skipped = [Skipped(one, f"it is {states[one].value}") for one in sorted(states) if one not in set(waiting)]
    legs = records.legs_of(tx, waiting)
    departs = inventory.departures(tx, {flight for flights in legs.values() for flight in flights})
    held: dict[str, list[Any]] = {}
    for hold in reservations.lock_open(tx, waiting):
        held.setdefault(hold.booking_id, []).append(hold)
    longer: list[str] = []
    events = []
    for one in waiting:
        if records.done_before(tx, one):
            longer.append(one)
            continue
        holds = held.get(one, [])
        if not holds or any(hold.lapsed for hold in holds):
            skipped.append(Skipped(one, LAPSED))
            continue
        old = min(hold.expires_at for hold in holds)
        limit = min(hold.created_at for hold in holds) + timedelta(seconds=MAX_HOLD_SECONDS)
        until = min(old + timedelta(seconds=by_seconds), limit, *(departs[flight] for flight in legs[one]))
        if until <= old:
            skipped.append(Skipped(one, AT_LIMIT))
            continue
        if (changed := reservations.prolong(tx, one, until)) != len(holds):
            if changed:
                raise Conflict  # one lapsed between two looks: the next try sees them all lapsed
            skipped.append(Skipped(one, LAPSED))
            continue
        longer.append(one)
        events.append(_event(tx, one, actor, until, by_seconds, reason))
    if events:
        if records.touch(tx, [event["booking_id"] for event in events]) != len(events):
            raise Conflict
        tx.fetch([Step(records.ADD_EVENT, events)])
    return longer, skipped


def _event(
    tx: Transaction, booking_id: str, actor: str, until: datetime, by_seconds: float, reason: str | None
) -> dict[str, Any]:
    why = f": {reason}" if reason else ""
    return records.event(
        booking_id,
        BookingStatus.PENDING,
        BookingStatus.PENDING,
        actor=actor,
        reason=f"hold extended by {format_duration(by_seconds)}, to {until:%Y-%m-%dT%H:%M:%SZ}{why}",
        operation_id=tx.operation.id,
    )
