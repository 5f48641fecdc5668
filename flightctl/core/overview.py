"""One look at the whole shop floor, for ``top``: the vitals, the last minutes' bookings, holds, and hot flights.

Every query walks an index and stops after some thousand rows; a look costs some milliseconds on any size of table.
"""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from flightctl.core import vitals
from flightctl.core.database import Transaction
from flightctl.core.model.states import BookingStatus, FlightStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights, seat_reservations
from flightctl.core.sql_functions import utc_now
from flightctl.core.vitals import Vitals

RECENT_SECONDS: Final = 600
RECENT_BOOKINGS: Final = 5000
"""Of a busier shop's last ten minutes these are the latest, and tell the mix as well."""
HOT_RESERVATIONS: Final = 2000
"""The latest reservations, whose flights are the hot ones."""
_TRIVIAL: Final = select(utc_now())
SHOWN: Final = 50
"""Holds, and hot flights at most, that one look brings."""


@dataclass(frozen=True, slots=True)
class OpenHold:
    booking_id: str
    flight_id: str
    seats: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class HotFlight:
    """``recent_seats`` of it were held or sold by the latest reservations."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    total_seats: int
    available_seats: int
    recent_seats: int

    @property
    def load(self) -> float:
        """Share of its seats that are held or sold, 0 to 1."""
        return 1 - self.available_seats / self.total_seats


@dataclass(frozen=True, slots=True)
class Overview:
    vitals: Vitals
    last_minute: int
    """Bookings made within the last minute; the count stops at ``vitals.CAP``."""
    recent: dict[str, int]
    """How the bookings of the last RECENT_SECONDS stand, by status."""
    recent_is_all: bool
    holds: tuple[OpenHold, ...]
    """The next to lapse, those that have lapsed already first."""
    hot: tuple[HotFlight, ...]
    latency: float
    """Seconds of one round trip to the database."""
    redis: str
    """``up``, ``down`` or ``none``."""


def look(runtime: Runtime) -> Overview:
    """Raises what ``Database.read`` raises."""
    now, last_minute, recent, holds, hot, latency = runtime.database.read(_look)
    cache = runtime.cache
    return Overview(
        vitals=now,
        last_minute=last_minute,
        recent=recent,
        recent_is_all=sum(recent.values()) < RECENT_BOOKINGS,
        holds=holds,
        hot=hot,
        latency=latency,
        redis="none" if not cache.configured else "up" if cache.ping() else "down",
    )


def _look(
    tx: Transaction,
) -> tuple[Vitals, int, dict[str, int], tuple[OpenHold, ...], tuple[HotFlight, ...], float]:
    minute = select(bookings.c.booking_id).where(bookings.c.created_at > utc_now(-60)).limit(vitals.CAP).subquery()
    last_minute = int(tx.execute(select(func.count()).select_from(minute)).scalar_one())
    now = vitals.look(tx)
    started = time.perf_counter()
    tx.execute(_TRIVIAL)
    latency = time.perf_counter() - started
    return now, last_minute, _recent(tx), _holds(tx), _hot(tx), latency


def _recent(tx: Transaction) -> dict[str, int]:
    latest = (
        select(bookings.c.status)
        .where(bookings.c.created_at > utc_now(-RECENT_SECONDS))
        .order_by(bookings.c.created_at.desc())
        .limit(RECENT_BOOKINGS)
    )
    found = Counter(tx.execute(latest).scalars())
    return {status.value: found[status.value] for status in BookingStatus}


def _holds(tx: Transaction) -> tuple[OpenHold, ...]:
    hold = seat_reservations.c
    query = (
        select(hold.booking_id, hold.flight_id, hold.seats, hold.expires_at)
        .where(hold.deleted_at.is_(None))
        .order_by(hold.expires_at)
        .limit(SHOWN)
    )
    return tuple(OpenHold(row.booking_id, row.flight_id, row.seats, row.expires_at) for row in tx.execute(query))


def _hot(tx: Transaction) -> tuple[HotFlight, ...]:
    """Flights still to depart that the latest reservations were made on, those with most seats first."""
    latest = (
        select(seat_reservations.c.flight_id, seat_reservations.c.seats)
        .order_by(seat_reservations.c.id.desc())
        .limit(HOT_RESERVATIONS)
    )
    seats: Counter[str] = Counter()
    for row in tx.execute(latest):
        seats[row.flight_id] += row.seats
    wanted = [flight_id for flight_id, _ in seats.most_common(SHOWN)]
    query = select(flights).where(
        flights.c.flight_id.in_(wanted),
        flights.c.status == FlightStatus.ACTIVE.value,
        flights.c.departure_time > utc_now(),
    )
    found = [
        HotFlight(
            row.flight_id, row.source, row.destination, row.departure_time, row.total_seats, row.available_seats,
            seats[row.flight_id],
        )
        for row in tx.execute(query)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda flight: (-flight.recent_seats, flight.flight_id)))
