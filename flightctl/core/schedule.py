"""The schedule's version.

Every change of the schedule first raises ``schedule_state.version`` in its own transaction. The row's lock queues such
changes one after the other, and the version tells cached routes from before.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, case, delete, select, update

from flightctl.core.database import Transaction
from flightctl.core.routing import to_microseconds
from flightctl.core.schema import flights, packed_days, schedule_state
from flightctl.core.sql_functions import utc_now

VERSION: Final = select(schedule_state.c.version)
_LOCKED_VERSION: Final = VERSION.with_for_update()
_NOW: Final = select(utc_now())
_DEPARTURES: Final = select(flights.c.departure_time).where(flights.c.flight_id.in_(bindparam("ids", expanding=True)))
_UNPACK_ALL: Final = delete(packed_days)
_UNPACK: Final = _UNPACK_ALL.where(packed_days.c.utc_day.in_(bindparam("days", expanding=True)))


def database_now(tx: Transaction) -> datetime:
    now: datetime = tx.execute(_NOW).scalar_one()
    return now


def version(tx: Transaction) -> int:
    """The schedule's version: rises with every change, and starts at the moment, so that it never goes back."""
    return int(tx.execute(VERSION).scalar() or 0)


def lock_version(tx: Transaction) -> int:
    """The version, which stays as it is until the transaction ends or raises it."""
    return int(tx.execute(_LOCKED_VERSION).scalar() or 0)


def raise_version(tx: Transaction, changed: Collection[str] | None) -> int:
    """Raise the version and queue behind other changes of the schedule; returns the new one.

    ``changed`` are the flights to be changed, None stands for all there are: no search takes their days from a packed
    timetable any more. Whoever knows better what he changes, or adds or moves flights, says ``unpack`` himself.
    """
    now = to_microseconds(database_now(tx))
    newer = case((schedule_state.c.version >= now, schedule_state.c.version + 1), else_=now)
    tx.change(update(schedule_state).values(version=newer, updated_at=utc_now()))
    if changed is None:
        tx.change(_UNPACK_ALL)
    elif changed:  # looked up only now: no other change of the schedule moves them any more
        unpack(tx, tx.execute(_DEPARTURES, {"ids": list(changed)}).scalars())
    return version(tx)


def unpack(tx: Transaction, departures: Iterable[datetime]) -> None:
    """From here on no search takes the days of these departures from a packed timetable (``packed_days``)."""
    if days := sorted({departure.date() for departure in departures}):
        tx.change(_UNPACK, {"days": days})
