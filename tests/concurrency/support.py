"""What the races, crashes and storms share: a small network, time that passes on demand, and checks in plain SQL."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flightctl.core import inventory
from flightctl.core.errors import FlightctlError
from flightctl.core.runtime import Runtime
from tests.conftest import Backend
from tests.servers import redis_client

# A DAG of legs that all connect (two hours between arrival and departure). The ids sort against the order of travel,
# so that "in the order of the legs" and "in sorted order" are different things.
LEGS = {
    "ZZ1-20991201": ("DEL", "BOM", "2099-12-01 04:00:00.000000", "2099-12-01 06:00:00.000000"),
    "MM2-20991201": ("BOM", "BLR", "2099-12-01 08:00:00.000000", "2099-12-01 10:00:00.000000"),
    "AA3-20991201": ("BLR", "MAA", "2099-12-01 12:00:00.000000", "2099-12-01 14:00:00.000000"),
}
Z, M, A = LEGS
ZM = f"CF_DEL_BLR_{Z}_{M}"
MA = f"CF_BOM_MAA_{M}_{A}"
ZMA = f"CF_DEL_MAA_{Z}_{M}_{A}"
PRICE = 100  # per seat and leg

TABLES = (
    "booking_events",
    "refunds",
    "payments",
    "seat_reservations",
    "booking_flights",
    "booking_requests",
    "disruptions",
    "bookings",
    "mock_gateway_ledger",
    "flights",
    "packed_days",
    "packed_airports",
)


class World:
    """A migrated database with a few flights, looked at and changed behind the program's back."""

    def __init__(self, backend: Backend, **variables: str) -> None:
        self.backend = backend
        self.env = {**backend.env, "FLIGHTCTL_REDIS_PAUSE": "0s", **variables}
        self._runtimes: list[Runtime] = []
        self._own: Runtime | None = None
        self._connection: Any = None
        self.redis = redis_client(backend.redis_url) if backend.redis_url else None

    def close(self) -> None:
        for runtime in self._runtimes:
            runtime.close()
        self._runtimes.clear()
        self.disconnect()
        if self.redis is not None:
            self.redis.close()

    def disconnect(self) -> None:
        """A fork must find no SQLite handle open: closing the copy would drop the original's locks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def runtime(self, **variables: str) -> Runtime:
        """A runtime like a process's own; closed with the world. Warnings are kept in `warnings`."""
        from flightctl.core.settings import load_settings

        runtime = Runtime(load_settings(environ=self.env | variables), actor="test", warn=warnings.append)
        self._runtimes.append(runtime)
        return runtime

    @property
    def own(self) -> Runtime:
        """One runtime that prepares what the others fight for."""
        if self._own is None:
            self._own = self.runtime()
        return self._own

    # --- plain SQL

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            from tests.servers import mysql_connection

            sqlite = self.backend.is_sqlite
            self._connection = self.backend._sqlite() if sqlite else mysql_connection(self.backend.database_url)
        cursor = self._connection.cursor()
        if self.backend.is_sqlite:
            sql = sql.replace("%s", "?")
        cursor.execute(sql, params) if params else cursor.execute(sql)
        return list(cursor.fetchall())

    def value(self, sql: str, params: tuple[Any, ...] = ()) -> Any:
        [(value,)] = self.execute(sql, params)
        return value

    def fill(self, seats: int = 10, **more: int) -> World:
        """Empties all tables and makes the three flights, with ``seats`` each (or as named: ``Z=2``)."""
        each = {Z: seats, M: seats, A: seats} | {{"Z": Z, "M": M, "A": A}[name]: count for name, count in more.items()}
        self.execute("BEGIN")
        for table in (*TABLES, "worker_heartbeats"):
            self.execute(f"DELETE FROM {table}")
        for flight_id, (source, destination, departure, arrival) in LEGS.items():
            self.execute(
                "INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date, "
                "total_seats, available_seats, seat_version, price, status) "
                "VALUES (%s, %s, %s, %s, %s, '2099-12-01', %s, %s, %s, %s, 'ACTIVE')",
                (
                    flight_id,
                    source,
                    destination,
                    departure,
                    arrival,
                    each[flight_id],
                    each[flight_id],
                    time.time_ns() // 1000,
                    PRICE * (100 if self.backend.is_sqlite else 1),
                ),
            )
        self.execute("COMMIT")
        if self.redis is not None:
            self.redis.flushdb()
        return self

    def disrupt(self, seats: int, plan: str) -> str:
        """Z is cancelled, its CONFIRMED bookings wait; another flight has that many seats for them. Writes their plan."""
        other = "YY4-20991201"
        self.execute(
            "INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date, "
            "total_seats, available_seats, seat_version, price, status) SELECT %s, source, destination, "
            "departure_time, arrival_time, departure_date, %s, %s, seat_version, price, status FROM flights "
            "WHERE flight_id = %s",
            (other, seats, seats, Z),
        )
        self.execute(
            "UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", (Z,)
        )
        self.execute(
            "INSERT INTO disruptions (booking_id, flight_id, created_at) SELECT booking_id, %s, "
            "'2020-01-01 00:00:00.000000' FROM bookings WHERE status = 'CONFIRMED'",
            (Z,),
        )
        waiting = [row[0] for row in self.execute("SELECT booking_id FROM disruptions ORDER BY booking_id")]
        moved = [{"flightIdentifier": f"CF_DEL_BLR_{other}_{M}"}]
        entries = [{"bookingId": booking, "alternatives": moved} for booking in waiting]
        document = {"format": "flightctl re-accommodation plan 1", "bookings": entries}
        Path(plan).write_text(json.dumps(document), encoding="utf-8")
        if self.redis is not None:
            self.redis.delete(f"flight:{Z}:seats")
        return other

    def available(self, flight_id: str) -> int:
        return int(self.value("SELECT available_seats FROM flights WHERE flight_id = %s", (flight_id,)))

    def statuses(self) -> Counter[str]:
        return Counter(row[0] for row in self.execute("SELECT status FROM bookings"))

    def status(self, booking_id: str) -> str:
        return str(self.value("SELECT status FROM bookings WHERE booking_id = %s", (booking_id,)))

    def payment(self, booking_id: str) -> str:
        """The state of the booking's only payment."""
        return str(self.value("SELECT status FROM payments WHERE booking_id = %s", (booking_id,)))

    def payment_id(self, booking_id: str) -> str:
        return str(self.value("SELECT payment_id FROM payments WHERE booking_id = %s", (booking_id,)))

    def lapse(self, booking_id: str | None = None) -> None:
        """Moves the end of open holds into the past."""
        one = "" if booking_id is None else f" AND booking_id = '{booking_id}'"
        self.execute(
            "UPDATE seat_reservations SET expires_at = '2020-01-01 00:00:00.000000', created_at = "
            f"'2019-12-31 23:55:00.000000' WHERE deleted_at IS NULL{one}"
        )

    def end_leases(self) -> None:
        """Moves the leases of payments and refunds into the past, and lets locks expire."""
        for table in "payments", "refunds":
            self.execute(
                f"UPDATE {table} SET claimed_until = '2020-01-01 00:00:00.000000' WHERE claimed_until IS NOT NULL"
            )
        if self.redis is not None:
            for key in self.redis.keys("inventory:lock:*"):
                assert 0 < self.redis.pttl(key) <= 5000, f"{key!r} would not expire by itself in time"
                self.redis.delete(key)

    # --- checks

    def problems(self, *, settled: bool = False) -> list[str]:
        """Everything that is wrong; with ``settled`` also what is only unfinished."""
        found = [
            f"{name}: {row}" for name, query in _CHECKS.items() for row in self.execute(query.replace("{PRICE}", "1"))
        ]
        if settled:
            found += [f"{name}: {row}" for name, query in _SETTLED_CHECKS.items() for row in self.execute(query)]
        return found + self._broken_stories() + self.cache_problems()

    def _broken_stories(self) -> list[str]:
        """Each booking's events must be one walk from nothing to its present state."""
        found, at = [], dict[str, str | None]()
        for booking_id, old, new in self.execute(
            "SELECT booking_id, from_status, to_status FROM booking_events ORDER BY booking_id, id"
        ):
            if at.get(booking_id) != old:
                found.append(f"story of {booking_id}: {old} -> {new} while it was {at.get(booking_id)}")
            at[booking_id] = new
        for booking_id, status in self.execute("SELECT booking_id, status FROM bookings"):
            if at.get(booking_id) != status:
                found.append(f"story of {booking_id} ends {at.get(booking_id)}, it is {status}")
        return found

    def publish_counts(self) -> None:
        """Redis knows every flight's count, as after a search."""
        inventory.publish(self.own, list(LEGS))

    def cache_problems(self, *, fresh: bool = False) -> list[str]:
        """A cached count is the database's, or older and about to expire (with ``fresh``: is the database's)."""
        if self.redis is None:
            return []
        found = []
        rows = {
            row[0]: row[1:]
            for row in self.execute("SELECT flight_id, available_seats, seat_version, status FROM flights")
        }
        for key in self.redis.keys("flight:*:seats"):
            flight_id = key.decode().split(":")[1]
            value, ttl = self.redis.get(key), self.redis.ttl(key)
            if value is None or flight_id not in rows:
                continue
            seats, version = map(int, value.split(b":"))
            available, now, status = rows[flight_id]
            if not 0 < ttl <= 60:
                found.append(f"cache: {flight_id} expires in {ttl} s")
            if version > now:
                found.append(f"cache: {flight_id} has a version nobody committed: {version} > {now}")
            if version == now and seats != (available if status == "ACTIVE" else 0):
                found.append(f"cache: {flight_id} says {seats}, the database {available}")
            if fresh and version != now:
                found.append(f"cache: {flight_id} is stale: {version} < {now}")
        return found


warnings: list[str] = []

_HELD = "(SELECT COALESCE(SUM(r.seats), 0) FROM seat_reservations r WHERE r.flight_id = f.flight_id AND r.deleted_at IS NULL)"
_SOLD = (
    "(SELECT COALESCE(SUM(b.seats), 0) FROM bookings b JOIN booking_flights l ON l.booking_id = b.booking_id "
    "WHERE l.flight_id = f.flight_id AND b.status = 'CONFIRMED')"
)
_CHECKS = {
    "seats do not add up": "SELECT f.flight_id, f.total_seats, f.available_seats FROM flights f "
    f"WHERE f.available_seats <> f.total_seats - {_HELD} - {_SOLD} OR f.available_seats < 0",
    "a PENDING booking lacks holds, or another one has some": "SELECT b.booking_id, b.status FROM bookings b WHERE "
    "(SELECT COUNT(*) FROM seat_reservations r WHERE r.booking_id = b.booking_id AND r.deleted_at IS NULL) <> "
    "CASE b.status WHEN 'PENDING' THEN (SELECT COUNT(*) FROM booking_flights l WHERE l.booking_id = b.booking_id) "
    "ELSE 0 END",
    "a CONFIRMED booking without its confirmed holds": "SELECT b.booking_id FROM bookings b WHERE "
    "b.status = 'CONFIRMED' AND (SELECT COUNT(*) FROM seat_reservations r WHERE r.booking_id = b.booking_id "
    "AND r.outcome = 'CONFIRMED') <> (SELECT COUNT(*) FROM booking_flights l WHERE l.booking_id = b.booking_id)",
    "a hold of other seats than its booking's": "SELECT r.id FROM seat_reservations r JOIN bookings b "
    "ON b.booking_id = r.booking_id WHERE r.seats <> b.seats AND (r.deleted_at IS NULL OR r.outcome = 'CONFIRMED' OR "
    "NOT EXISTS (SELECT 1 FROM booking_requests q WHERE q.booking_id = b.booking_id))",
    "a booking without payment or events or legs": "SELECT b.booking_id FROM bookings b WHERE NOT EXISTS "
    "(SELECT 1 FROM payments p WHERE p.booking_id = b.booking_id) OR NOT EXISTS (SELECT 1 FROM booking_events e "
    "WHERE e.booking_id = b.booking_id) OR NOT EXISTS (SELECT 1 FROM booking_flights l WHERE l.booking_id = b.booking_id)",
    "CONFIRMED is not exactly one SUCCESS": "SELECT b.booking_id, b.status FROM bookings b WHERE "
    "(SELECT COUNT(*) FROM payments p WHERE p.booking_id = b.booking_id AND p.status = 'SUCCESS' "
    "AND NOT (b.status = 'CANCELLED' AND p.retained > 0)) <> "
    "CASE b.status WHEN 'CONFIRMED' THEN 1 ELSE 0 END",
    "an ended booking has a REQUESTED payment": "SELECT p.payment_id FROM payments p JOIN bookings b "
    "ON b.booking_id = p.booking_id WHERE p.status = 'REQUESTED' AND b.status <> 'PENDING'",
    "refunds do not match the payment": "SELECT p.payment_id, p.status FROM payments p WHERE "
    "p.retained + (SELECT COALESCE(SUM(r.amount), 0) FROM refunds r WHERE r.payment_id = p.payment_id) <> "
    "CASE WHEN p.status IN ('REFUND_DUE', 'REFUNDED') THEN p.amount WHEN p.status = 'SUCCESS' THEN p.amount - "
    "(SELECT b.total_price FROM bookings b WHERE b.booking_id = p.booking_id AND b.status = 'CONFIRMED') ELSE 0 END",
    "REFUND_DUE has nothing due, or REFUNDED something": "SELECT p.payment_id, p.status FROM payments p WHERE "
    "p.status <> 'SUCCESS' AND (p.status = 'REFUND_DUE') <> EXISTS (SELECT 1 FROM refunds r WHERE r.payment_id = p.payment_id AND r.status = 'DUE')",
    "charged at the gateway, not known as paid": "SELECT g.request_id FROM mock_gateway_ledger g LEFT JOIN payments p "
    "ON p.payment_id = g.request_id WHERE g.kind = 'CHARGE' AND g.outcome = 'SUCCESS' AND "
    "(p.payment_id IS NULL OR (p.status NOT IN ('PROCESSING', 'SUCCESS', 'REFUND_DUE', 'REFUNDED') "
    "AND NOT (p.status = 'FAILED' AND p.claimed_until IS NOT NULL)))",  # the processor will ask the gateway
    "charged another amount": "SELECT g.request_id FROM mock_gateway_ledger g JOIN payments p "
    "ON p.payment_id = g.request_id WHERE g.kind = 'CHARGE' AND g.amount <> p.amount",
    "PAID without the gateway having paid": "SELECT r.refund_id FROM refunds r JOIN payments p "
    "ON p.payment_id = r.payment_id LEFT JOIN mock_gateway_ledger g ON g.request_id = r.refund_id "
    "WHERE r.status = 'PAID' AND p.source = 'GATEWAY' AND (g.request_id IS NULL OR g.amount <> r.amount)",
    "the gateway paid back what is not owed": "SELECT g.request_id FROM mock_gateway_ledger g LEFT JOIN refunds r "
    "ON r.refund_id = g.request_id WHERE g.kind = 'REFUND' AND r.refund_id IS NULL",
    "charged twice": "SELECT b.booking_id FROM bookings b WHERE (SELECT COUNT(*) FROM mock_gateway_ledger g "
    "JOIN payments p ON p.payment_id = g.request_id WHERE p.booking_id = b.booking_id AND g.kind = 'CHARGE' "
    "AND g.outcome = 'SUCCESS') > 1",
}
_SETTLED_CHECKS = {
    "charged at the gateway, and nobody knows": "SELECT p.payment_id FROM payments p JOIN mock_gateway_ledger g "
    "ON g.request_id = p.payment_id WHERE g.outcome = 'SUCCESS' AND p.status NOT IN ('SUCCESS', 'REFUNDED')",
    "a hold is left open": "SELECT id, booking_id FROM seat_reservations WHERE deleted_at IS NULL",
    "a booking is left PENDING": "SELECT booking_id FROM bookings WHERE status = 'PENDING'",
    "a part of a payment is owed": "SELECT r.refund_id FROM refunds r JOIN payments p ON p.payment_id = r.payment_id "
    "WHERE r.status = 'DUE' AND p.source = 'GATEWAY'",
    "a payment is left between": "SELECT p.payment_id, p.status FROM payments p WHERE p.status = 'REQUESTED' "
    "OR (p.status = 'REFUND_DUE' AND p.source = 'GATEWAY') OR (p.status = 'PROCESSING' AND NOT EXISTS "
    "(SELECT 1 FROM mock_gateway_ledger g WHERE g.request_id = p.payment_id AND g.outcome = 'TIMEOUT'))",
    "a booking of a cancelled flight lives": "SELECT b.booking_id FROM bookings b JOIN booking_flights l "
    "ON l.booking_id = b.booking_id JOIN flights f ON f.flight_id = l.flight_id "
    "WHERE f.status = 'CANCELLED' AND (b.status = 'PENDING' OR (b.status = 'CONFIRMED' AND NOT EXISTS "
    "(SELECT 1 FROM disruptions d WHERE d.booking_id = b.booking_id)))",
}


def recover(world: World, runtime: Runtime, *, processor_first: bool = False) -> None:
    """What cron and the daemon do after a crash, once leases and holds have run out."""
    from flightctl.core.payments import process
    from flightctl.core.sweeper import sweep

    world.end_leases()
    if processor_first:
        process(runtime, everything=True)
        world.end_leases()
    world.lapse()
    for _ in range(3):
        sweep(runtime)
        done = process(runtime, everything=True)
        if not done.claimed + done.refunded:
            return
        world.end_leases()


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """``done``, or the code of the error that it ended with."""
    try:
        call(*args, **kwargs)
    except FlightctlError as error:
        return error.code
    return "done"


@contextlib.contextmanager
def after_first(owner: Any, name: str, interlude: Callable[[], None]) -> Iterator[None]:
    """Runs ``interlude`` once, right after the first call of ``owner.name`` returns (in the caller's thread)."""
    original, left = getattr(owner, name), [1]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if left:
            left.clear()
            interlude()
        return result

    setattr(owner, name, wrapped)
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def before_first(owner: Any, name: str, interlude: Callable[[], None]) -> Iterator[None]:
    """Runs ``interlude`` once, right before the first call of ``owner.name``."""
    original, left = getattr(owner, name), [1]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if left:
            left.clear()
            interlude()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)
    try:
        yield
    finally:
        setattr(owner, name, original)


def nap(limit: float) -> None:
    time.sleep(random.uniform(0, limit))
