"""A small world for in-process tests: flights put in by SQL, runtimes, and short names for what one asks most.

All flights depart on ``DAY`` unless told otherwise, two days from now in UTC, so that no test depends on the hour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import redis

from tests.checker import exact, violations
from tests.servers import mysql_connection

if TYPE_CHECKING:
    from flightctl.core.model.bookings import Booking, BookResult
    from flightctl.core.model.itineraries import SearchResult
    from flightctl.core.model.payments import CallbackResult
    from flightctl.core.runtime import Runtime
    from tests.conftest import Backend

T = TypeVar("T")

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)
LONG_AGO = "2020-01-01 00:00:00.000000"

ZONES = {
    "DEL": "Asia/Kolkata",
    "BOM": "Asia/Kolkata",
    "BLR": "Asia/Kolkata",
    "MAA": "Asia/Kolkata",
    "CCU": "Asia/Kolkata",
    "KTM": "Asia/Kathmandu",
    "LHR": "Europe/London",
    "JFK": "America/New_York",
    "LAX": "America/Los_Angeles",
    "HNL": "Pacific/Honolulu",
    "AKL": "Pacific/Auckland",
}

# DEL - BOM - BLR - MAA, with two hours between the flights.
DIRECT = "F1"
TWO_LEGS = "CF_DEL_BLR_F1_F2"
THREE_LEGS = "CF_DEL_MAA_F1_F2_F3"

DATABASES: dict[str, Any] = {}
CONNECTIONS: dict[str, Any] = {}
"""``Database`` and raw connection by URL, for the whole session: both are dear to make."""

TABLES = (
    "refunds",
    "payments",
    "booking_events",
    "seat_reservations",
    "booking_flights",
    "booking_requests",
    "disruptions",
    "bookings",
    "mock_gateway_ledger",
    "flights",
    "worker_heartbeats",
    "archived",
    "packed_days",
    "packed_airports",
)


def at(hour: float, day: int = 0) -> datetime:
    """That many hours into DAY (plus ``day`` days), UTC."""
    return DAY + timedelta(days=day, hours=hour)


def text_of(instant: datetime) -> str:
    """An instant as both databases store it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


class World:
    """One back end with what a test has put into it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.warnings: list[str] = []
        self.unchecked = ""
        """Why the invariants do not hold at the end of this test (it planted damage)."""
        self.stale: set[str] = set()
        """Flights whose count in Redis may be old, because whoever changed them was killed."""
        self._exit = ExitStack()

    def close(self) -> None:
        self._exit.close()

    # --- the program -------------------------------------------------------------------------------------------------

    @cached_property
    def runtime(self) -> Runtime:
        """The agent's."""
        return self.another("agent")

    def another(self, actor: str = "agent", **variables: str) -> Runtime:
        """A runtime of its own, as another process would have; ``variables`` as in the environment."""
        from flightctl.core.runtime import Runtime

        runtime = Runtime(self.backend.settings(**variables), actor=actor, warn=self.warnings.append)
        self._exit.callback(runtime.close)
        if not any(name.startswith("FLIGHTCTL_DATABASE") for name in variables):
            self._share_database(runtime)
        return runtime

    def _share_database(self, runtime: Runtime) -> None:
        """All tests of one database share the engine: it has compiled the statements, which takes longest."""
        url = self.backend.database_url
        if url not in DATABASES:
            DATABASES[url] = runtime.database
        runtime.__dict__["database"] = DATABASES[url]
        self._exit.callback(runtime.__dict__.pop, "database", None)

    def book(
        self, identifier: str = DIRECT, seats: int = 1, user: str = "u1", key: str | None = None, ttl: int | None = None
    ) -> BookResult:
        from flightctl.core.booking import book
        from flightctl.core.model.bookings import BookRequest

        return book(self.runtime, BookRequest(identifier, user, seats, key, ttl))

    def booked(self, identifier: str = DIRECT, seats: int = 1, **more: Any) -> str:
        """The id of a new PENDING booking."""
        return self.book(identifier, seats, **more).booking.booking_id

    def callback(
        self, booking: str, status: str = "SUCCESS", payment: str | None = None, amount: str | None = None
    ) -> CallbackResult:
        from flightctl.core.model.payments import CallbackRequest
        from flightctl.core.model.states import CallbackStatus
        from flightctl.core.settlement import callback

        money = None if amount is None else Decimal(amount)
        return callback(self.runtime, CallbackRequest(booking, CallbackStatus(status), payment, money, None))

    def sweep(self, **more: Any) -> Any:
        from flightctl.core.sweeper import sweep

        return sweep(self.runtime, **more)

    def release(self, booking: str, *, confirmed_too: bool = True) -> Any:
        from flightctl.core.cancellation import release

        return release(self.runtime, booking, reason=None, confirmed_too=confirmed_too)

    def search(
        self, source: str = "DEL", destination: str = "BOM", date: str | None = None, **more: Any
    ) -> SearchResult:
        from flightctl.core.model.itineraries import SearchRequest
        from flightctl.core.search import search

        runtime = more.pop("runtime", self.runtime)
        return search(runtime, SearchRequest(source, destination, date or f"{DAY:%Y-%m-%d}", **more))

    # --- behind its back ---------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> Any:
        url = self.backend.database_url
        if url not in CONNECTIONS and self.backend.is_sqlite:
            CONNECTIONS[url] = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10, isolation_level=None)
            CONNECTIONS[url].execute("PRAGMA foreign_keys = ON")
            CONNECTIONS[url].execute("PRAGMA synchronous = OFF")  # of what tests put in; the program's own is FULL
        elif url not in CONNECTIONS:
            CONNECTIONS[url] = mysql_connection(url)
        return CONNECTIONS[url]

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As ``Backend.execute``, over one connection that stays open."""
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("%s", "?") if self.backend.is_sqlite else sql, tuple(params))
        return list(cursor.fetchall())

    def sql(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return self.execute(sql, params)

    def one(self, sql: str, *params: Any) -> Any:
        [(value,)] = self.execute(sql, params)
        return value

    @cached_property
    def redis(self) -> redis.Redis:
        client = redis.Redis.from_url(self.backend.redis_url, socket_timeout=5)
        self._exit.callback(client.close)
        return client

    def money(self, amount: str) -> Any:
        """An amount as the database keeps it."""
        return int(Decimal(amount) * 100) if self.backend.is_sqlite else Decimal(amount)

    def flight(
        self,
        flight_id: str,
        source: str = "DEL",
        destination: str = "BOM",
        departs: datetime | None = None,
        lasting: float = 2,
        *,
        seats: int = 9,
        available: int | None = None,
        price: str = "1000.00",
        status: str = "ACTIVE",
        carrier: str | None = None,
        number: str | None = None,
    ) -> str:
        """Puts a flight in; ``lasting`` is hours."""
        leaves = departs or at(6)
        version = round(datetime.now(UTC).timestamp() * 1e6)
        self.sql(
            "INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date,"
            " total_seats, available_seats, seat_version, price, status, carrier, flight_number)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            flight_id,
            source,
            destination,
            text_of(leaves),
            text_of(leaves + timedelta(hours=lasting)),
            leaves.astimezone(ZoneInfo(ZONES[source])).date().isoformat(),
            seats,
            seats if available is None else available,
            version,
            self.money(price),
            status,
            carrier,
            number,
        )
        return flight_id

    def line(self, seats: int = 9, price: str = "1000.00") -> None:
        """F1, F2 and F3, as in DIRECT, TWO_LEGS and THREE_LEGS."""
        stops = ("DEL", "BOM", "BLR", "MAA")
        self.sql("BEGIN")
        for leg in range(3):
            self.flight(f"F{leg + 1}", stops[leg], stops[leg + 1], at(6 + 4 * leg), seats=seats, price=price)
        self.sql("COMMIT")

    def lapse(self, booking: str) -> None:
        """The booking's holds have run out."""
        self.sql(
            "UPDATE seat_reservations SET expires_at = %s WHERE booking_id = %s AND deleted_at IS NULL",
            LONG_AGO,
            booking,
        )

    def depart(self, flight: str) -> None:
        """The flight has left, and with it the holds of whoever was still to pay."""
        self.sql("UPDATE flights SET departure_time = %s WHERE flight_id = %s", LONG_AGO, flight)
        for (booking,) in self.sql("SELECT booking_id FROM booking_flights WHERE flight_id = %s", flight):
            self.lapse(booking)

    def cancel_by_half(self, flight: str) -> None:
        """As a `flights cancel` leaves it that was killed after its first commit."""
        self.sql(
            "UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", flight
        )
        self.stale.add(flight)

    def expired(self, identifier: str = DIRECT, seats: int = 1, **more: Any) -> str:
        """A booking whose hold has lapsed and was swept."""
        booking = self.booked(identifier, seats, **more)
        self.lapse(booking)
        assert self.sweep().expired_bookings == 1
        return booking

    def confirmed(self, identifier: str = DIRECT, seats: int = 1, **more: Any) -> str:
        booking = self.booked(identifier, seats, **more)
        self.callback(booking)
        return booking

    # --- what one asks -----------------------------------------------------------------------------------------------

    def available(self, *flights: str) -> list[int]:
        return [self.one("SELECT available_seats FROM flights WHERE flight_id = %s", flight) for flight in flights]

    def book_of(self, booking: str) -> Booking:
        """The booking as `bookings show` has it."""
        from flightctl.core.lists import show_booking

        return show_booking(self.runtime, booking)

    def status(self, booking: str) -> str:
        return str(self.one("SELECT status FROM bookings WHERE booking_id = %s", booking))

    def payments(self, booking: str) -> dict[str, tuple[str, str]]:
        """Status and source by payment id."""
        rows = self.sql("SELECT payment_id, status, source FROM payments WHERE booking_id = %s", booking)
        return {payment: (status, source) for payment, status, source in rows}

    def payment(self, booking: str) -> str:
        """The id of the booking's only payment."""
        [payment] = self.payments(booking)
        return payment

    def paid(self, booking: str) -> list[str]:
        """The states of its payments, sorted."""
        return sorted(status for status, _ in self.payments(booking).values())

    def refunds(self, booking: str) -> list[tuple[Decimal, str]]:
        rows = self.sql(
            "SELECT r.amount, r.status FROM refunds r JOIN payments p ON p.payment_id = r.payment_id"
            " WHERE p.booking_id = %s ORDER BY r.amount, r.status",
            booking,
        )
        return [(exact(amount), status) for amount, status in rows]

    def holds(self, booking: str) -> list[tuple[str, str | None]]:
        """Flight and outcome of every reservation, in the order they were made."""
        return self.sql(  # type: ignore[return-value]
            "SELECT flight_id, outcome FROM seat_reservations WHERE booking_id = %s ORDER BY id", booking
        )

    def moves(self, booking: str) -> list[tuple[str, str | None, str]]:
        """Who moved the booking from where to where."""
        return self.sql(  # type: ignore[return-value]
            "SELECT actor, from_status, to_status FROM booking_events WHERE booking_id = %s ORDER BY id", booking
        )

    def charges(self, payment: str) -> list[str]:
        """The gateway's answers to that id, by its own ledger."""
        return [row[0] for row in self.sql("SELECT outcome FROM mock_gateway_ledger WHERE request_id = %s", payment)]

    def picture(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything there is, to see that nothing changed."""
        return {table: sorted(self.sql(f"SELECT * FROM {table}"), key=repr) for table in TABLES}

    def faults(self) -> list[str]:
        """What is wrong in the database, and in what Redis says of seats."""
        return violations(self.execute) + (self._cached_wrong() if self.backend.redis_url else [])

    def _cached_wrong(self) -> list[str]:
        found = []
        for flight, available, version, status in self.sql(
            "SELECT flight_id, available_seats, seat_version, status FROM flights"
        ):
            cached = self.redis.get(f"flight:{flight}:seats")
            expected = b"%d:%d" % (available if status == "ACTIVE" else 0, version)
            if cached is not None and cached != expected and flight not in self.stale:
                found.append(f"Redis says {cached!r} of flight {flight}, the database {expected!r}")
        return found


def unchanged(world: World, action: Callable[[], T]) -> T:
    """What ``action`` returns or raises, once it is sure that it changed nothing."""
    before = world.picture()
    try:
        return action()
    finally:
        assert world.picture() == before
