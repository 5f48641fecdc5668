"""Rows of the schedule: its version, and flights as searches read them.

Every change of the schedule first raises ``schedule_state.version`` in its own transaction. The row's lock queues such
changes one after the other, and the version tells cached routes from before.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, case, select, update

from flightctl.core.database import Transaction
from flightctl.core.model import FlightStatus
from flightctl.core.routing import Row, Timetable, build, to_instant, to_microseconds
from flightctl.core.schema import flights, schedule_state, utc_now

_VERSION: Final = select(schedule_state.c.version)
_NOW: Final = select(utc_now())
_COLUMNS: Final = (
    flights.c.flight_id,
    flights.c.source,
    flights.c.destination,
    flights.c.departure_time,
    flights.c.arrival_time,
    flights.c.price,
    flights.c.available_seats,
)
_ACTIVE: Final = select(*_COLUMNS).where(flights.c.status == FlightStatus.ACTIVE.value)
_FIRSTS: Final = _ACTIVE.where(flights.c.source == bindparam("source"), flights.c.departure_date == bindparam("day"))
_ONWARD: Final = _ACTIVE.where(
    flights.c.source.in_(bindparam("sources", expanding=True)),
    flights.c.departure_time.between(bindparam("earliest"), bindparam("latest")),
)
_INBOUND: Final = _ACTIVE.where(
    flights.c.destination == bindparam("destination"),
    flights.c.departure_time.between(bindparam("earliest"), bindparam("latest")),
)


def database_now(tx: Transaction) -> datetime:
    now: datetime = tx.execute(_NOW).scalar_one()
    return now


def version(tx: Transaction) -> int:
    """The schedule's version: rises with every change, and starts at the moment, so that it never goes back."""
    return int(tx.execute(_VERSION).scalar() or 0)


def raise_version(tx: Transaction) -> int:
    """Raise the version and queue behind other changes of the schedule; returns the new one."""
    now = to_microseconds(database_now(tx))
    newer = case((schedule_state.c.version >= now, schedule_state.c.version + 1), else_=now)
    tx.change(update(schedule_state).values(version=newer, updated_at=utc_now()))
    return version(tx)


def load_timetable(
    tx: Transaction, source: str, destination: str, day: date, *, min_connection: int, max_connection: int
) -> tuple[Timetable, dict[str, int]]:
    """The timetable of one question from the database, and the available seats of its flights at that moment.

    Connection times are microseconds. Reads the flights leaving ``source`` on the local date, what leaves where they
    arrive in time, and what then enters ``destination``: three range scans on indexes, no self-join.
    """
    seats: dict[str, int] = {}
    firsts = _rows(tx.execute(_FIRSTS, {"source": source, "day": day}), seats)
    onward = _connecting(tx, firsts, source, destination, min_connection, max_connection, seats)
    lasts = _entering(tx, onward, destination, min_connection, max_connection, seats)
    timetable = build(
        source,
        destination,
        firsts=firsts,
        middles=onward,
        lasts={row[0]: row for row in (*onward, *lasts)}.values(),
        min_connection=min_connection,
        max_connection=max_connection,
    )
    return timetable, seats


def _rows(result: Iterable[Any], seats: dict[str, int]) -> list[Row]:
    rows: list[Row] = []
    for flight_id, source, destination, departs, arrives, price, available in result:
        seats[flight_id] = available
        rows.append(
            (flight_id, source, destination, to_microseconds(departs), to_microseconds(arrives), hundredths(price))
        )
    return rows


def _connecting(
    tx: Transaction,
    firsts: Sequence[Row],
    source: str,
    destination: str,
    min_connection: int,
    max_connection: int,
    seats: dict[str, int],
) -> list[Row]:
    via = sorted({row[2] for row in firsts} - {source, destination})
    arrivals = [row[4] for row in firsts if row[2] != destination]
    if not via:
        return []
    window = _window(arrivals, min_connection, max_connection)
    return _rows(tx.execute(_ONWARD, {"sources": via, **window}), seats)


def _entering(
    tx: Transaction,
    onward: Sequence[Row],
    destination: str,
    min_connection: int,
    max_connection: int,
    seats: dict[str, int],
) -> list[Row]:
    arrivals = [row[4] for row in onward if row[2] != destination]
    if not arrivals:
        return []
    window = _window(arrivals, min_connection, max_connection)
    return _rows(tx.execute(_INBOUND, {"destination": destination, **window}), seats)


def _window(arrivals: Sequence[int], min_connection: int, max_connection: int) -> dict[str, datetime]:
    return {
        "earliest": to_instant(min(arrivals) + min_connection),
        "latest": to_instant(max(arrivals) + max_connection),
    }


def hundredths(price: Decimal) -> int:
    return int(price.scaleb(2))
