"""Reservations: the rows that hold seats of flights for bookings. Whoever changes them changes the flights' seats with
them, or what the seats are held for: see ``inventory``, and who moves a booking from state to state.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Integer, bindparam, case, insert, or_, select, update

from flightctl.core.database import Transaction
from flightctl.core.index_hints import by_booking
from flightctl.core.model.states import HoldOutcome
from flightctl.core.schema import seat_reservations
from flightctl.core.sql_functions import rows_changed, utc_now

_END_HOLDS: Final = by_booking(
    seat_reservations,
    update(seat_reservations)
    .where(
        seat_reservations.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
        seat_reservations.c.deleted_at.is_(None),
    )
    .values(deleted_at=utc_now(), outcome=bindparam("ended_as")),
)
_OPEN_HOLDS: Final = by_booking(
    seat_reservations,
    select(
        seat_reservations.c.booking_id,
        seat_reservations.c.flight_id,
        seat_reservations.c.seats,
        seat_reservations.c.created_at,
        seat_reservations.c.expires_at,
        (seat_reservations.c.expires_at <= utc_now()).label("lapsed"),
    )
    .where(
        seat_reservations.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
        seat_reservations.c.deleted_at.is_(None),
    )
    .order_by(seat_reservations.c.id)
    .with_for_update(),
)
_HOLD_TIMES: Final = select(
    seat_reservations.c.id, seat_reservations.c.expires_at, seat_reservations.c.created_at
).where(seat_reservations.c.booking_id == bindparam("id"), seat_reservations.c.deleted_at.is_(None))
_ADD_HOLD: Final = insert(seat_reservations)
_PROLONG: Final = by_booking(
    seat_reservations,
    update(seat_reservations)
    .where(
        seat_reservations.c.booking_id == bindparam("booking"),
        seat_reservations.c.deleted_at.is_(None),
        seat_reservations.c.expires_at > utc_now(),
    )
    .values(expires_at=bindparam("until", type_=seat_reservations.c.expires_at.type)),
)
_RELEASE_CONFIRMED: Final = by_booking(
    seat_reservations,
    update(seat_reservations)
    .where(
        seat_reservations.c.booking_id == bindparam("booking"),
        seat_reservations.c.flight_id.in_(bindparam("ids", expanding=True)),
        seat_reservations.c.outcome == HoldOutcome.CONFIRMED.value,
    )
    .values(outcome=HoldOutcome.RELEASED.value, deleted_at=utc_now()),
)
_SHRINK: Final = by_booking(
    seat_reservations,
    update(seat_reservations)
    .where(
        seat_reservations.c.booking_id == bindparam("booking"),
        or_(seat_reservations.c.deleted_at.is_(None), seat_reservations.c.outcome == HoldOutcome.CONFIRMED.value),
        seat_reservations.c.seats > bindparam("n", type_=Integer),
    )
    .values(seats=seat_reservations.c.seats - bindparam("n", type_=Integer)),
)
# Follows its _TAKE: where that matched no row, the hold would have 0 seats, which its CHECK refuses. So the database
# itself stops a batch of statements that was sent in one go.
ADD_IF_TAKEN: Final = insert(seat_reservations).values(
    seats=case((rows_changed() == 1, bindparam("n", type_=Integer)), else_=0)
)
NOT_TAKEN: Final = "ck_seat_reservations_seats"
"""The CHECK that a batch of ``take_steps`` fails by when a flight is sold out, cancelled or departed."""


def add(
    tx: Transaction,
    booking_id: str,
    flight_ids: Iterable[str],
    seats: int,
    *,
    now: datetime,
    expires_at: datetime,
    ended_as: HoldOutcome | None = None,
) -> None:
    """Insert one reservation per leg; with ``ended_as`` they are born ended (late money that took its seats again)."""
    tx.execute(
        _ADD_HOLD,
        [
            {
                "booking_id": booking_id,
                "flight_id": flight_id,
                "seats": seats,
                "created_at": now,
                "expires_at": expires_at,
                "deleted_at": now if ended_as else None,
                "outcome": ended_as.value if ended_as else None,
            }
            for flight_id in flight_ids
        ],
    )


def lock_open(tx: Transaction, booking_ids: Sequence[str]) -> list[Any]:
    """The active reservations of the bookings, locked: booking_id, flight_id, seats, created_at, expires_at, lapsed."""
    return list(tx.execute(_OPEN_HOLDS, {"booking_ids": list(booking_ids)}).all())


def end(tx: Transaction, booking_ids: Sequence[str], outcome: HoldOutcome) -> int:
    """End every active reservation of the bookings; returns how many there were. A hold resolves once."""
    return tx.change(_END_HOLDS, {"booking_ids": list(booking_ids), "ended_as": outcome.value})


def prolong(tx: Transaction, booking_id: str, until: datetime) -> int:
    """Let the booking's active reservations that have not lapsed run until then; returns how many these were."""
    return tx.change(_PROLONG, {"booking": booking_id, "until": until})


def age(tx: Transaction, booking_id: str, by: timedelta) -> None:
    """Make the booking's active reservations end, and have begun, so much earlier: for rehearsals."""
    for row in tx.execute(_HOLD_TIMES, {"id": booking_id}).all():
        tx.change(
            update(seat_reservations)
            .where(seat_reservations.c.id == row.id, seat_reservations.c.deleted_at.is_(None))
            .values(expires_at=row.expires_at - by, created_at=row.created_at - by)
        )


def release_confirmed(tx: Transaction, booking_id: str, flight_ids: Iterable[str]) -> int:
    """End the booking's CONFIRMED reservations of the flights as RELEASED after all; returns how many there were."""
    return tx.change(_RELEASE_CONFIRMED, {"booking": booking_id, "ids": sorted(flight_ids)})


def shrink(tx: Transaction, booking_id: str, seats: int) -> int:
    """Take ``seats`` off each of the booking's active or CONFIRMED reservations that has more; returns how many."""
    return tx.change(_SHRINK, {"booking": booking_id, "n": seats})
