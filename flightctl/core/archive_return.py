"""A booking that comes back from the archive, for money that came after all: whole, in one transaction.

It is the reverse of what ``archive`` did, flights that are gone included; then its money is settled like any other's,
and when nothing of it is open any more the next run archives it again.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from flightctl.core import inventory, records
from flightctl.core.archive import BOOKING, FLIGHT
from flightctl.core.database import Conflict, Transaction
from flightctl.core.errors import InvalidStateError
from flightctl.core.model.states import BookingStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import archived, booking_flights, bookings, flights, metadata
from flightctl.core.sql_types import Money, UtcDateTime

REASON: Final = "back from the archive: the gateway reported of it"
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def bring_back(runtime: Runtime, booking_id: str) -> bool:
    """Make an archived booking a live one again; whether it is one now, whoever did it: another callback at the same
    time, or an earlier try whose COMMIT got no answer.

    Raises InvalidStateError where something has taken the place of what belongs to it.
    """
    kept = runtime.database.read(lambda tx: _document(tx, BOOKING, booking_id))
    if kept is None:
        return runtime.database.read(lambda tx: _is_live(tx, booking_id))
    flight_ids = sorted({str(leg["flight_id"]) for leg in kept[booking_flights.name]})
    try:
        return inventory.change_seats(
            runtime, flight_ids, lambda tx: _return(tx, booking_id, flight_ids, runtime.actor)
        )
    except IntegrityError as error:
        raise InvalidStateError(
            f"the archived booking {booking_id} cannot come back: another has a payment of the same id",
            hint="Nothing was recorded. Pay the money back by hand, or report it under a payment id of its own.",
            details={"bookingId": booking_id},
        ) from error


def _document(tx: Transaction, kind: str, key: str) -> Rows | None:
    text = tx.execute(select(archived.c.document).where(archived.c.kind == kind, archived.c.id == key)).scalar()
    if text is None:
        return None
    rows: Rows = json.loads(text)
    return rows


def _is_live(tx: Transaction, booking_id: str) -> bool:
    return tx.execute(select(bookings.c.booking_id).where(bookings.c.booking_id == booking_id)).first() is not None


def _return(tx: Transaction, booking_id: str, flight_ids: Sequence[str], actor: str) -> bool:
    document = _document(tx, BOOKING, booking_id)
    if document is None:
        return _is_live(tx, booking_id)
    if tx.change(delete(archived).where(archived.c.kind == BOOKING, archived.c.id == booking_id)) != 1:
        raise Conflict  # somebody else has
    there = inventory.lock_flights(tx, flight_ids)
    for flight_id in flight_ids:
        if flight_id not in there:
            _insert(tx, flights, (_document(tx, FLIGHT, flight_id) or {})[flights.name])
    for table in metadata.sorted_tables:  # parents before children
        _insert(tx, table, document.get(table.name, ()))
    [booking] = document[bookings.name]
    seats = int(booking["seats"] or 0)
    if booking["status"] == BookingStatus.CONFIRMED.value:
        inventory.take_flown(tx, dict.fromkeys(flight_ids, seats))
        counted = update(archived).where(archived.c.kind == FLIGHT, archived.c.id.in_(flight_ids))
        tx.change(counted.values(seats=archived.c.seats - seats))
    status = BookingStatus(booking["status"])
    records.add_event(tx, booking_id, status, status, actor=actor, reason=REASON)
    return True


def _insert(tx: Transaction, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    taken = _taken_numbers(tx, table, rows)
    for row in rows:
        values = {
            column.name: _value(column.type, row[column.name])
            for column in table.columns
            if column.name in row and not (column is table.autoincrement_column and row[column.name] in taken)
        }
        if table is bookings and _key_is_taken(tx, values["idempotency_key"]):
            values["idempotency_key"] = f"archived-{values['booking_id']}-{secrets.token_hex(8)}"
        tx.execute(insert(table), values)


def _taken_numbers(tx: Transaction, table: Table, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Numbers that the database has given to others meanwhile, as SQLite does. The others are kept: whoever counts new
    events by their numbers (vitals_watch) does not count these again."""
    number = table.autoincrement_column
    if number is None or not rows:
        return set()
    return set(tx.execute(select(number).where(number.in_([row[number.name] for row in rows]))).scalars())


def _key_is_taken(tx: Transaction, key: str) -> bool:
    """It was free after the booking had been archived, and stands for a newer one."""
    return tx.execute(select(bookings.c.booking_id).where(bookings.c.idempotency_key == key)).first() is not None


def _value(kind: Any, plain: Any) -> Any:
    if plain is None:
        return None
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(plain)
    if isinstance(kind, Money):
        return Decimal(plain)
    return date.fromisoformat(plain) if kind.python_type is date else plain
