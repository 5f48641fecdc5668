"""Which index a statement that locks rows finds them by, where the server must not choose.

InnoDB locks every row that a statement looks at, not only those it changes, and waits for each. Of a small table, or
for many ids, MySQL and MariaDB rather look at all rows in some state: a sweep would wait for holds that it has nothing
to do with, and two processors would meet in each other's payments.
"""

from typing import Any, Final, TypeVar

from sqlalchemy import Select, Table, Update

from flightctl.core.schema import bookings, payments, seat_reservations

_DIALECT: Final = "mysql"
"""Of MariaDB too; SQLite locks no rows."""
_BOOKING_INDEX: Final = {
    bookings: "PRIMARY",
    payments: "ix_payments_booking",
    seat_reservations: "ix_seat_reservations_booking",
}
S = TypeVar("S", Select[Any], Update)


def by_booking(table: Table, statement: S) -> S:
    """The statement, which finds the table's rows by the ids of their bookings alone."""
    return _by_index(table, statement, _BOOKING_INDEX[table])


def by_id(table: Table, statement: S) -> S:
    """The statement, which finds the table's rows by their own ids alone."""
    return _by_index(table, statement, "PRIMARY")


def _by_index(table: Table, statement: S, index: str) -> S:
    hint = f"FORCE INDEX ({index})"
    if isinstance(statement, Update):
        return statement.with_hint(hint, table, _DIALECT)
    return statement.with_hint(table, hint, _DIALECT)
