"""``flights sales``: a flight's seats held, confirmed and given back, from its first booking until now.

The story is told by the reservations of the flight, found by an index, and by the events of their bookings: a
reservation tells when its seats were taken and how the hold ended; what became of confirmed seats, and of a part of a
party, stands in the events.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, or_, select

from flightctl.core.cancellation import seats_given_back
from flightctl.core.database import Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.flight_rows import BY_ID, require
from flightctl.core.identifiers import normal_id
from flightctl.core.inventory import to_flight
from flightctl.core.model.flights import Flight
from flightctl.core.model.states import BookingStatus, HoldOutcome
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_events, bookings, seat_reservations
from flightctl.core.sql_functions import utc_now

HOURLY: Final = timedelta(days=3)
"""Sales of no longer than this are told by the hour, unless days are asked for."""

_ON_FLIGHT: Final = seat_reservations.c.flight_id == bindparam("id")
_RESERVATIONS: Final = (
    select(
        seat_reservations.c.booking_id,
        seat_reservations.c.seats,
        seat_reservations.c.created_at,
        seat_reservations.c.deleted_at,
        seat_reservations.c.outcome,
        bookings.c.status,
        bookings.c.updated_at,
    )
    .join(bookings, bookings.c.booking_id == seat_reservations.c.booking_id)
    .where(_ON_FLIGHT)
)
_EVENTS: Final = (
    select(
        booking_events.c.booking_id,
        booking_events.c.at,
        booking_events.c.from_status,
        booking_events.c.to_status,
        booking_events.c.reason,
    )
    .where(
        booking_events.c.booking_id.in_(select(seat_reservations.c.booking_id).where(_ON_FLIGHT)),
        or_(
            booking_events.c.from_status == booking_events.c.to_status,
            booking_events.c.from_status == BookingStatus.CONFIRMED.value,
            booking_events.c.to_status == BookingStatus.CONFIRMED.value,
        ),
    )
    .order_by(booking_events.c.id)
)
_NOW: Final = select(utc_now())


class Span(StrEnum):
    """What a point of the series stands for, in UTC."""

    DAY = "day"
    HOUR = "hour"

    @property
    def length(self) -> timedelta:
        return timedelta(days=1) if self is Span.DAY else timedelta(hours=1)

    def start(self, at: datetime) -> datetime:
        """Of the day or hour that ``at`` is in."""
        hour = at.replace(minute=0, second=0, microsecond=0)
        return hour.replace(hour=0) if self is Span.DAY else hour


@dataclass(frozen=True, slots=True)
class Change:
    """Seats that went from free to held, from held to confirmed, or back, at one moment."""

    at: datetime
    held: int = 0
    confirmed: int = 0
    given_back: int = 0
    """Of those that were held, or, with ``sold``, confirmed."""
    sold: bool = False


@dataclass(frozen=True, slots=True)
class SalesPoint:
    """A day or hour, which begins ``at``: seats that were held, confirmed and given back in it, and how many were
    held and confirmed at its end (of the last one: now)."""

    at: datetime
    held: int
    confirmed: int
    given_back: int
    held_seats: int
    confirmed_seats: int


@dataclass(frozen=True, slots=True)
class Sales:
    """``points`` without a gap, from the first booking to now, or to the departure; none without a booking."""

    flight: Flight
    span: Span
    points: tuple[SalesPoint, ...]


def sales(runtime: Runtime, flight_id: str, *, by: str | None = None) -> Sales:
    """``by`` is a Span; None: whichever suits. Raises InvalidFlightError, ValidationError (another ``by``)."""
    wanted = _span(by)
    flight_id = normal_id(flight_id)

    def work(tx: Transaction) -> Sales:
        flight = to_flight(require(tx.execute(BY_ID, {"id": flight_id}).first(), flight_id))
        events: dict[str, list[Any]] = defaultdict(list)
        for event in tx.execute(_EVENTS, {"id": flight_id}):
            events[event.booking_id].append(event)
        reservations = tx.execute(_RESERVATIONS, {"id": flight_id}).all()
        now: datetime = tx.execute(_NOW).scalar_one()
        changes = all_changes(reservations, events)
        return _series(flight, changes, wanted, min(now, flight.departure_time))

    return runtime.database.read(work, snapshot=True)


def _span(by: str | None) -> Span | None:
    if by is None:
        return None
    try:
        return Span(by.strip().lower())
    except ValueError:
        raise ValidationError(f"--by takes day or hour, not {by[:20]!r}") from None


def all_changes(reservations: Iterable[Any], events: Mapping[str, Sequence[Any]]) -> list[Change]:
    """Changes of the flight's seats in their order; ``events`` by booking, in theirs."""
    found = [change for one in reservations for change in _changes(one, events.get(one.booking_id, ()))]
    return sorted(found, key=lambda change: change.at)


def _changes(row: Any, events: Sequence[Any]) -> Iterator[Change]:
    """What became of one reservation. Its row has the seats that are left of it; those given back before come from
    the events."""
    sold_at, ended_at = _fate(row, events)
    parts = [
        (event.at, seats_given_back(event.reason))
        for event in events
        if event.from_status == event.to_status
        and event.at >= row.created_at
        and (ended_at is None or event.at < ended_at)
    ]
    before = sum(seats for at, seats in parts if sold_at is None or at < sold_at)
    after = sum(seats for _, seats in parts) - before
    yield Change(row.created_at, held=row.seats + before + after)
    if sold_at is not None:
        yield Change(sold_at, confirmed=row.seats + after)
    for at, seats in parts:
        if seats:
            yield Change(at, given_back=seats, sold=sold_at is not None and at >= sold_at)
    if ended_at is not None:
        yield Change(ended_at, given_back=row.seats, sold=sold_at is not None)


def _fate(row: Any, events: Sequence[Any]) -> tuple[datetime | None, datetime | None]:
    """When the reservation's seats were confirmed, and when they were given back."""
    if row.outcome == HoldOutcome.CONFIRMED.value:
        if row.status != BookingStatus.CANCELLED.value:
            return row.deleted_at, None
        ends = (BookingStatus.CONFIRMED.value, BookingStatus.CANCELLED.value)
        cancelled = next((event.at for event in events if (event.from_status, event.to_status) == ends), row.updated_at)
        return row.deleted_at, max(row.deleted_at, cancelled)
    if row.outcome != HoldOutcome.RELEASED.value:
        return None, row.deleted_at
    # RELEASED after it was CONFIRMED: the booking was moved to another flight.
    paid = [
        event.at
        for event in events
        if event.from_status != BookingStatus.CONFIRMED.value and event.to_status == BookingStatus.CONFIRMED.value
    ]
    if paid and paid[0] <= row.deleted_at:
        return max(paid[0], row.created_at), row.deleted_at
    return None, row.deleted_at


def _series(flight: Flight, changes: Sequence[Change], wanted: Span | None, until: datetime) -> Sales:
    if not changes:
        return Sales(flight, wanted or Span.DAY, ())
    first, last = changes[0].at, max(until, changes[-1].at)
    span = wanted or (Span.HOUR if last - first <= HOURLY else Span.DAY)
    by_start: dict[datetime, list[Change]] = defaultdict(list)
    for change in changes:
        by_start[span.start(change.at)].append(change)
    points: list[SalesPoint] = []
    at, held_seats, confirmed_seats = span.start(first), 0, 0
    while at <= last:
        within = by_start.get(at, ())
        held, confirmed, given_back = (
            sum(getattr(one, name) for one in within) for name in ("held", "confirmed", "given_back")
        )
        sold_back = sum(one.given_back for one in within if one.sold)
        held_seats += held - confirmed - (given_back - sold_back)
        confirmed_seats += confirmed - sold_back
        points.append(SalesPoint(at, held, confirmed, given_back, held_seats, confirmed_seats))
        at += span.length
    return Sales(flight, span, tuple(points))
