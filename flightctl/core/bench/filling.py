"""Holds by the thousand for benches that end them: written as bookings leave them, but in bulk."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import bindparam, insert, update

from flightctl.core.bench.book import PRICE
from flightctl.core.database import Database, Transaction
from flightctl.core.identifiers import new_booking_id
from flightctl.core.schedule import database_now
from flightctl.core.schema import booking_events, booking_flights, bookings, flights, payments, seat_reservations
from flightctl.core.settings import Settings

_CHUNK: Final = 5000
"""Bookings per transaction."""

Held = tuple[str, str, str]
"""Ids of a booking, its flight and its payment."""


def fill_holds(settings: Settings, flight_ids: Sequence[str], how_many: int, *, seconds: float) -> list[Held]:
    """PENDING bookings of one seat each, round robin over the flights, whose holds end ``seconds`` from now (past when
    negative), each a microsecond after the one before it. In that order."""
    database = Database(settings)
    ids = list({new_booking_id() for _ in range(how_many + how_many // 100)})[:how_many]
    held = [(name, flight_ids[number % len(flight_ids)], f"pay-{name.lower()}") for number, name in enumerate(ids)]
    try:
        now = database.read(database_now)
        numbered: Iterator[tuple[int, Held]] = iter(enumerate(held))
        while chunk := list(islice(numbered, _CHUNK)):
            database.run(lambda tx, chunk=chunk: _write(tx, chunk, now, seconds))  # type: ignore[misc]
    finally:
        database.close()
    return held


def _write(tx: Transaction, chunk: Sequence[tuple[int, Held]], now: datetime, seconds: float) -> None:
    made = now - timedelta(hours=1)
    rows: list[dict[str, Any]] = [
        {
            "booking_id": booking,
            "flight_id": flight,
            "payment_id": payment,
            "at": made + timedelta(microseconds=number),
            "ends": now + timedelta(seconds=seconds, microseconds=number),
        }
        for number, (booking, flight, payment) in chunk
    ]
    tx.execute(
        insert(bookings).values(user_id="bench", flight_type="DIRECT", seats=1, total_price=PRICE, status="PENDING"),
        [
            {
                "booking_id": row["booking_id"],
                "flight_identifier": row["flight_id"],
                "idempotency_key": row["payment_id"],
                "created_at": row["at"],
                "updated_at": row["at"],
            }
            for row in rows
        ],
    )
    take = update(flights).where(flights.c.flight_id == bindparam("id"))
    for flight, seats in sorted(Counter(row["flight_id"] for row in rows).items()):
        tx.change(take.values(available_seats=flights.c.available_seats - seats), {"id": flight})
    children = (
        (booking_flights, {"leg_order": 1}, ()),
        (seat_reservations, {"seats": 1}, (("created_at", "at"), ("expires_at", "ends"))),
        (booking_events, {"actor": "bench", "to_status": "PENDING", "reason": "filled"}, (("at", "at"),)),
        (
            payments,
            {"amount": PRICE, "status": "REQUESTED", "source": "GATEWAY"},
            (("created_at", "at"), ("updated_at", "at"), ("payment_id", "payment_id")),
        ),
    )
    for table, constant, copied in children:
        ids = [name for name in ("booking_id", "flight_id") if name in table.c]
        tx.execute(
            insert(table).values(**constant),
            [{name: row[name] for name in ids} | {name: row[source] for name, source in copied} for row in rows],
        )
