"""Bookings whose itinerary a change of the schedule broke and that wait to be moved: marked, listed, unmarked.

A mark says which flight broke it. Only CONFIRMED bookings count as disrupted: a mark of one that has ended says nothing
any more. Marks of a cancelled flight are set in the transaction that cancels it: nobody ever finds its CONFIRMED
bookings unmarked, and ends them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, and_, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from flightctl.core.database import Conflict, Transaction
from flightctl.core.model.disruptions import Disruption
from flightctl.core.model.states import BookingStatus, FlightStatus, FlightType
from flightctl.core.routing import check_connection, to_microseconds
from flightctl.core.schema import booking_flights, bookings, disruptions, flights
from flightctl.core.sql_functions import utc_now

_NO_LIMIT: Final = 10**15
"""Microseconds: whoever waits longer than a search would let him is not stranded."""

_MARKED: Final = select(disruptions.c.booking_id).where(disruptions.c.booking_id == bookings.c.booking_id)
_ON_FLIGHT: Final = (
    select(bookings.c.booking_id, bindparam("flight", type_=disruptions.c.flight_id.type), utc_now())
    .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
    .where(booking_flights.c.flight_id == bindparam("flight"), ~_MARKED.exists())
)
_MARK_CONFIRMED: Final = insert(disruptions).from_select(
    ["booking_id", "flight_id", "created_at"], _ON_FLIGHT.where(bookings.c.status == BookingStatus.CONFIRMED.value)
)
_MARK: Final = insert(disruptions).values(created_at=utc_now())
_CLEAR: Final = delete(disruptions).where(disruptions.c.booking_id.in_(bindparam("ids", expanding=True)))
_MARK_OF: Final = select(disruptions.c.flight_id).where(disruptions.c.booking_id == bindparam("id"))
_ALL: Final = (
    select(disruptions.c.booking_id, disruptions.c.flight_id, disruptions.c.created_at, bookings.c.flight_identifier)
    .join(bookings, bookings.c.booking_id == disruptions.c.booking_id)
    .where(bookings.c.status == BookingStatus.CONFIRMED.value)
    .order_by(disruptions.c.created_at, disruptions.c.booking_id)
)
_OF_FLIGHT: Final = _ALL.where(
    disruptions.c.booking_id.in_(
        select(booking_flights.c.booking_id).where(booking_flights.c.flight_id == bindparam("flight"))
    )
)
# Connections through the flight, leg by leg.
_JOURNEYS: Final = (
    select(
        booking_flights.c.booking_id,
        flights.c.flight_id,
        flights.c.source,
        flights.c.destination,
        flights.c.departure_time,
        flights.c.arrival_time,
        flights.c.status,
    )
    .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
    .order_by(booking_flights.c.booking_id, booking_flights.c.leg_order)
)
_JOURNEY: Final = _JOURNEYS.where(booking_flights.c.booking_id == bindparam("id"))
_LEGS: Final = _JOURNEYS.join(bookings, bookings.c.booking_id == booking_flights.c.booking_id).where(
    bookings.c.flight_type == FlightType.COMPUTED.value,
    bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
    bookings.c.booking_id.in_(
        select(booking_flights.c.booking_id).where(booking_flights.c.flight_id == bindparam("flight"))
    ),
)


def waiting() -> ColumnElement[bool]:
    """Whether the row of ``bookings`` is disrupted: a condition for queries that end or report bookings."""
    return and_(bookings.c.status == BookingStatus.CONFIRMED.value, _MARKED.exists())


def mark_confirmed(tx: Transaction, flight_id: str) -> None:
    """Mark the flight's CONFIRMED bookings; one that another flight had broken before keeps its mark."""
    _mark(tx, _MARK_CONFIRMED, {"flight": flight_id})


def _mark(tx: Transaction, statement: Insert, parameters: dict[str, str]) -> None:
    """Raises Conflict when somebody else has marked a booking since we looked: the next try sees that."""
    try:
        tx.execute(statement, parameters)
    except IntegrityError as error:
        raise Conflict from error


def mark_broken(tx: Transaction, flight_id: str, min_connection: float) -> None:
    """After the flight's times changed: mark the bookings whose connections are shorter than ``min_connection`` seconds
    now, and unmark those whose flights all fly and connect again. One that is PENDING counts once it is paid."""
    legs: dict[str, list[Any]] = {}
    for row in tx.execute(_LEGS, {"flight": flight_id}):
        legs.setdefault(row.booking_id, []).append(row)
    marked = set(tx.execute(select(disruptions.c.booking_id).where(disruptions.c.booking_id.in_(legs))).scalars())
    broken = [one for one, rows in legs.items() if _why_broken(rows, min_connection)]
    for booking_id in broken:
        if booking_id not in marked:
            _mark(tx, _MARK, {"booking_id": booking_id, "flight_id": flight_id})
    whole = [
        one
        for one, rows in legs.items()
        if one in marked and one not in broken and all(row.status == FlightStatus.ACTIVE.value for row in rows)
    ]
    if whole:
        clear(tx, whole)


def check_again(tx: Transaction, booking_id: str, min_connection: float) -> str | None:
    """For a booking that takes seats again after its end, when no change of a flight looked at it: mark it where its
    connections hold no more, unmark it where they do; returns the flight that it would miss.

    The rows of its flights must be locked, so that nobody changes their times before the booking is CONFIRMED.
    """
    rows = tx.execute(_JOURNEY, {"id": booking_id}).all()
    missed = next((b.flight_id for a, b in pairwise(rows) if _why_broken((a, b), min_connection)), None)
    marked = mark_of(tx, booking_id) is not None
    if missed is not None and not marked:
        _mark(tx, _MARK, {"booking_id": booking_id, "flight_id": missed})
    elif missed is None and marked:
        clear(tx, [booking_id])
    return missed


def _why_broken(rows: Sequence[Any], min_connection: float) -> str | None:
    legs = [
        (r.flight_id, r.source, r.destination, to_microseconds(r.departure_time), to_microseconds(r.arrival_time))
        for r in rows
    ]
    return check_connection(legs, round(min_connection * 1e6), _NO_LIMIT)


def mark_of(tx: Transaction, booking_id: str) -> str | None:
    """The flight that broke the booking's itinerary, None when nothing did."""
    found: str | None = tx.execute(_MARK_OF, {"id": booking_id}).scalar()
    return found


def clear(tx: Transaction, booking_ids: Sequence[str]) -> None:
    tx.change(_CLEAR, {"ids": list(booking_ids)})


def disrupted(tx: Transaction, flight_id: str | None = None) -> tuple[Disruption, ...]:
    """CONFIRMED bookings that wait to be moved, the oldest first; with ``flight_id`` those that fly with it."""
    rows = tx.execute(_ALL) if flight_id is None else tx.execute(_OF_FLIGHT, {"flight": flight_id})
    return tuple(Disruption(row.booking_id, row.flight_id, row.flight_identifier, row.created_at) for row in rows)
