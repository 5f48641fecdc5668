"""How audit reads whole tables: piece by piece, by ranges of keys, so that no statement's work grows with the table.

The pieces fit together on one consistent snapshot (``Database.read(snapshot=True)``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, and_, bindparam, func, select

from flightctl.core.database import Transaction

_AFTER: Final = "after"
_LAST: Final = "last"


class KeyRange(NamedTuple):
    """The rows whose keys are above ``after``, up to and with ``last``; how many they are."""

    after: str
    last: str
    rows: int

    @property
    def parameters(self) -> dict[str, Any]:
        """For statements with ``within``."""
        return {_AFTER: self.after, _LAST: self.last}


def within(key: Column[Any]) -> ColumnElement[bool]:
    """Whether the row is in the range that is given by a KeyRange's ``parameters``."""
    return and_(key > bindparam(_AFTER, type_=key.type), key <= bindparam(_LAST, type_=key.type))


def ranges(tx: Transaction, key: Column[Any], rows: int) -> list[KeyRange]:
    """The whole table in ranges of ``rows`` keys, the last one shorter. ``key`` is a text, and unique."""
    rest = key > bindparam(_AFTER, type_=key.type)
    step = select(key).where(rest).order_by(key).offset(rows - 1).limit(1)
    found: list[KeyRange] = []
    after = ""
    while (last := tx.execute(step, {_AFTER: after}).scalar()) is not None:
        found.append(KeyRange(after, last, rows))
        after = last
    row = tx.execute(select(func.max(key).label("last"), func.count().label("rows")).where(rest), {_AFTER: after}).one()
    return [*found, KeyRange(after, row.last, row.rows)] if row.rows else found


@dataclass(frozen=True, slots=True)
class Look:
    """What all checks share: the transaction, its tables in ranges, and ``abandon_seconds``, after which an unanswered
    payment is given up."""

    tx: Transaction
    flights: Sequence[KeyRange]
    bookings: Sequence[KeyRange]
    payments: Sequence[KeyRange]
    abandon_seconds: float

    def over(self, pieces: Sequence[KeyRange], query: Select[Any]) -> Iterator[Any]:
        """The rows that a query with ``within`` finds in each piece."""
        for piece in pieces:
            yield from self.tx.execute(query, piece.parameters)


def some(tx: Transaction, listed: Select[Any], query: Select[Any], size: int) -> Iterator[Any]:
    """The rows that a query with ``ids`` finds for what ``listed`` lists by an index."""
    ids = tx.execute(listed).scalars().all()
    for start in range(0, len(ids), size):
        yield from tx.execute(query, {"ids": list(ids[start : start + size])})
