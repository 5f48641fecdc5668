"""The floors: bare PyMySQL (bare sqlite3 on the embedded database) doing the least that the same promise needs.

The same rows under the same constraints and foreign keys, the same durability (one COMMIT), the same guard against
overbooking and the same unique key, and nothing else: no checks of input, no reading back, no retries but of deadlocks.

The order is the key's INSERT, the seats' UPDATE, then the rows that hang on them. An UPDATE at the end would keep the
flight's row locked for a shorter time, but not under these foreign keys: the INSERT of a reservation share-locks its
flight's row, and two that share it and both want to change it are a deadlock (1213). Measured once, 16 clients on one
flight, 6 s each: UPDATE before its children 767 bookings and no deadlock, UPDATE last 153 bookings and 2,115 deadlocks.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from flightctl.core.database_engine import SQLITE_BUSY_SECONDS
from flightctl.core.database_nodes import look, wait_for_cluster
from flightctl.core.database_tls import tls_context
from flightctl.core.database_url import configured_address
from flightctl.core.settings import Settings

PYMYSQL: Final = "bare PyMySQL"
SQLITE: Final = "bare sqlite3"
DUPLICATE: Final = 1062
CONFLICTS: Final = frozenset({1180, 1213, 3101})
"""Of writers on several servers; Group Replication's and Galera's."""

BOOK: Final = (
    "INSERT INTO bookings (booking_id, user_id, flight_type, flight_identifier, seats, total_price, status,"
    " idempotency_key, created_at, updated_at)"
    " VALUES (%(booking)s, %(user)s, 'DIRECT', %(flight)s, %(seats)s, %(price)s, 'PENDING', %(key)s, {now}, {now})",
    "UPDATE flights SET available_seats = available_seats - %(seats)s, seat_version = seat_version + 1"
    " WHERE flight_id = %(flight)s AND status = 'ACTIVE' AND departure_time > {now} AND available_seats >= %(seats)s",
    # In one go nobody can look at the UPDATE's row count in between, so the reservation's CHECK does: no seats, no row.
    "INSERT INTO seat_reservations (booking_id, flight_id, seats, expires_at, created_at)"
    " VALUES (%(booking)s, %(flight)s, CASE WHEN {changed} = 1 THEN %(seats)s ELSE 0 END, {later}, {now})",
    "INSERT INTO booking_flights (booking_id, leg_order, flight_id) VALUES (%(booking)s, 1, %(flight)s)",
    "INSERT INTO payments (payment_id, booking_id, amount, status, source, created_at, updated_at)"
    " VALUES (%(payment)s, %(booking)s, %(price)s, 'REQUESTED', 'GATEWAY', {now}, {now})",
    "INSERT INTO booking_events (booking_id, at, actor, to_status, reason, operation_id)"
    " VALUES (%(booking)s, {now}, 'floor', 'PENDING', %(reason)s, %(operation)s)",
)
SOLD_OUT: Final = (
    "SELECT booking_id FROM bookings WHERE idempotency_key = %(key)s",
    "SELECT available_seats FROM flights WHERE flight_id = %(flight)s",
)
_MYSQL: Final = {
    "now": "UTC_TIMESTAMP(6)",
    "later": "UTC_TIMESTAMP(6) + INTERVAL 1 DAY",
    "changed": "ROW_COUNT()",
}
_SQLITE: Final = {
    "now": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')",
    "later": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now', '+1 day')",
    "changed": "changes()",
}
_NAMED: Final = ("booking", "user", "flight", "seats", "price", "key", "payment", "reason", "operation")


def driver_name(settings: Settings) -> str:
    """What the floor on this database is called."""
    return SQLITE if configured_address(settings).embedded else PYMYSQL


def ready(settings: Settings) -> bool:
    """Wait until the first server has what its cluster has committed; whether several statements in one round trip are
    one transaction there: a Galera member may roll back between two of them without telling, and commit the rest."""
    bare = Bare(settings)
    if bare.embedded:
        return True
    wait_for_cluster(bare.connection)
    bare.rows("SELECT COUNT(*) FROM flights")
    on_galera = look(bare.connection).get("wsrep_on") == "ON"
    bare.connection.close()
    return not on_galera


def analyze(settings: Settings) -> None:
    """Give the server its statistics at once: without them it joins flights in orders that take a hundred times as
    long, and a floor must not be slow by accident."""
    bare = Bare(settings)
    bare.rows("ANALYZE" if bare.embedded else "ANALYZE TABLE flights")
    bare.connection.close()


class Bare:
    """A connection of the bare driver, in the same session settings as flightctl's."""

    def __init__(self, settings: Settings) -> None:
        url = configured_address(settings).url
        self.embedded = url.get_backend_name() == "sqlite"
        self.words = _SQLITE if self.embedded else _MYSQL
        self.price: Any = 540000 if self.embedded else Decimal("5400.00")
        """Of a seat, as this database keeps money."""
        self.connection: Any
        if self.embedded:
            self.connection = sqlite3.connect(str(url.database), timeout=SQLITE_BUSY_SECONDS, isolation_level=None)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self.connection.execute(f"PRAGMA {pragma}")
        else:
            self.connection = _pymysql(url, settings)
        self.cursor = self.connection.cursor()

    def text(self, statement: str, names: Sequence[str] = _NAMED, **words: str) -> str:
        """The statement in this database's words, with its placeholders as ``names`` of a mapping."""
        text = statement.format(**self.words, **words)
        if self.embedded:
            for name in names:
                text = text.replace(f"%({name})s", f":{name}")
            text = text.replace("%%", "%")
        return text

    def later(self, column: str, seconds: float) -> str:
        """SQL for a column's instant plus so many seconds."""
        if self.embedded:
            return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f000', {column}, '+{seconds:.3f} seconds')"
        return f"{column} + INTERVAL {round(seconds * 1_000_000)} MICROSECOND"

    def begin(self) -> None:
        """Nothing to send on MySQL: without autocommit the first statement begins."""
        if self.embedded:
            self.cursor.execute("BEGIN IMMEDIATE")

    def execute(self, text: str, parameters: Any = ()) -> int:
        self.cursor.execute(text, parameters)
        changed: int = self.cursor.rowcount
        return changed

    def transaction(self, statements: Iterable[tuple[str, Any]]) -> None:
        """The statements one by one, and COMMIT."""
        self.begin()
        for text, parameters in statements:
            self.cursor.execute(text, parameters)
        self.commit()

    def rows(self, text: str, parameters: Any = ()) -> Sequence[Sequence[Any]]:
        self.cursor.execute(text, parameters)
        found: Sequence[Sequence[Any]] = self.cursor.fetchall()
        return found

    def all_at_once(self, text: str, parameters: Any) -> None:
        """Several statements in one round trip; the first error ends them."""
        self.cursor.execute(text, parameters)
        while self.cursor.nextset():
            pass

    def commit(self) -> None:
        self.connection.commit()

    def roll_back(self) -> None:
        self.connection.rollback()

    def was_taken(self, error: Exception) -> bool:
        """Whether the booking's id, drawn at random, was another's: with twenty thousand bookings one in five runs."""
        return "bookings.booking_id" in str(error) or (error.args[:1] == (DUPLICATE,) and "PRIMARY" in str(error))

    def conflicted(self, error: Exception) -> bool:
        """Whether the transaction lost against another that was committed first."""
        return error.args[:1] != () and error.args[0] in CONFLICTS


def _pymysql(url: Any, settings: Settings) -> Any:
    import pymysql
    from pymysql.constants import CLIENT

    tls: Any = tls_context(url.query, settings)
    return pymysql.connect(
        host=url.host or "localhost",
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        client_flag=CLIENT.MULTI_STATEMENTS,
        **({"ssl_disabled": True} if tls is None else {"ssl": tls}),
        init_command="SET SESSION time_zone='+00:00';SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        **{key: value for key, value in url.query.items() if key == "unix_socket"},
    )
