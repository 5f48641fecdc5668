"""``bench book``: bookings a second, all clients on one hot flight or spread over many; or refusals when sold out."""

import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from sqlalchemy import insert

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.load import Contender, Operation, compete
from flightctl.core.bench.result import BenchResult, best
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.booking import book
from flightctl.core.database import Database, Transaction
from flightctl.core.database_url import configured_address
from flightctl.core.errors import NoSeatsAvailableError, ValidationError
from flightctl.core.identifiers import new_booking_id, new_payment_id
from flightctl.core.model.bookings import BookRequest
from flightctl.core.runtime import Runtime
from flightctl.core.schedule import database_now
from flightctl.core.schema import flights
from flightctl.core.settings import Settings

SEATS: Final = 1_000_000_000
"""Of each flight: never sold out during a bench."""
HOLD_SECONDS: Final = 86400
"""Longer than any bench, so that the audit meets no lapsed hold."""
PRICE: Final = Decimal("5400.00")


def bench_book(
    settings: Settings,
    *,
    locking: str,
    clients: int,
    flight_count: int,
    seconds: float,
    sold_out: bool = False,
    writers: int = 1,
) -> BenchResult:
    """Bookings of one seat each; the floors know flight and price by heart and read nothing.

    With ``locking`` redis, flightctl with locks and published counts is held against flightctl without Redis. With
    ``writers``, clients take turns at so many of the database's servers as the one that they prefer. Raises
    ValidationError when there are not so many.
    """
    servers = len(configured_address(settings).nodes)
    if writers > servers:
        raise ValidationError(
            f"--writers {writers} is more than the servers in database.url ({servers})",
            hint="Write mysql+pymysql://user:password@host1:3306,host2:3306,host3:3306/name.",
        )
    with scratch(settings) as changed:
        alone = changed_settings(changed, {"redis.url": "", "locking": "database"})
        flight_ids = add_flights(changed, flight_count, seats=1 if sold_out else SEATS)
        if sold_out:
            _sell_out(alone, flight_ids)
        contenders = _floors(alone, flight_ids, sold_out=sold_out, writers=writers)
        if not sold_out:
            what = "database, each flight new to it"
            contenders.append(_flightctl(what, alone, flight_ids, writers=writers, new=True))
        contenders.append(_flightctl("database", alone, flight_ids, writers=writers))
        if locking == "redis":
            if not changed["redis.url"]:
                raise ValidationError("--locking redis needs a Redis", hint="Set FLIGHTCTL_REDIS_URL.")
            locked = changed_settings(changed, {"locking": "redis"})
            contenders.append(_flightctl("redis", locked, flight_ids, writers=writers))
        rows = compete(contenders, clients=clients, seconds=seconds)
        *others, own = rows
        bare = [row for row in others if not row.what.startswith("flightctl")]
        floor = others[-1] if locking == "redis" else best(bare)
        own = own.held_against(floor, *(row for row in bare if row is not floor))
        violations = audit_scratch(changed)
    return BenchResult("book", clients, flight_count, seconds, floor, own, (*rows[:-1], own), violations)


def add_flights(settings: Settings, how_many: int, *, seats: int = SEATS) -> list[str]:
    """Fill the empty schema with flights from DEL to BLR, hours apart from tomorrow on; their ids."""
    database = Database(settings)

    def work(tx: Transaction) -> list[str]:
        now = database_now(tx)
        rows: list[dict[str, Any]] = []
        for number in range(how_many):
            departs = now + timedelta(days=2, minutes=number)
            rows.append(
                {
                    "flight_id": f"XB{number}-{departs:%Y%m%d}",
                    "source": "DEL",
                    "destination": "BLR",
                    "departure_time": departs,
                    "arrival_time": departs + timedelta(hours=2),
                    "departure_date": departs.date(),
                    "total_seats": seats,
                    "available_seats": seats,
                    "price": PRICE,
                    "status": "ACTIVE",
                }
            )
        tx.execute(insert(flights), rows)
        return [row["flight_id"] for row in rows]

    try:
        return database.run(work)
    finally:
        database.close()


def _sell_out(settings: Settings, flight_ids: Sequence[str]) -> None:
    runtime = Runtime(settings, actor="bench")
    for flight_id in flight_ids:
        book(runtime, BookRequest(flight_id, user="first", ttl_seconds=HOLD_SECONDS))
    runtime.close()


def _preferring(settings: Settings, server: int) -> Settings:
    """The settings of a client that goes to that server first."""
    address = configured_address(settings)
    if not address.several:
        return settings
    return changed_settings(settings, {"database.url": address.turned(server).render(hide_password=False)})


def _floors(settings: Settings, flight_ids: Sequence[str], *, sold_out: bool, writers: int) -> list[Contender]:
    driver = floors.driver_name(settings)
    servers = [floors.ready(_preferring(settings, server)) for server in range(writers)]
    if sold_out:
        return [Contender(f"{driver}, two SELECTs", partial(bare_refusal, settings, flight_ids))]
    one_by_one = partial(bare_one_by_one, settings, flight_ids, writers=writers)
    found = [Contender(f"{driver}, one statement at a time", one_by_one)]
    if driver == floors.PYMYSQL and all(servers):
        found.append(Contender(f"{driver}, one round trip", partial(bare_all_at_once, settings, flight_ids)))
    return found


def _flightctl(
    locking: str, settings: Settings, flight_ids: Sequence[str], *, writers: int, new: bool = False
) -> Contender:
    make = partial(flightctl_booking, settings, flight_ids, writers=writers, new=new)
    return Contender(f"flightctl, locking {locking}", make)


def flightctl_booking(
    settings: Settings, flight_ids: Sequence[str], number: int, *, writers: int = 1, new: bool = False
) -> Operation:
    """The product's own use case, in a process that has it loaded and has booked each of the flights before; or, with
    ``new``, that looks at the flight's price and times before each booking, as a process's first of a flight does."""
    runtime = Runtime(_preferring(settings, number % writers), actor="bench")

    def operation(flight_id: str | None = None) -> int:
        flight_id = flight_id or random.choice(flight_ids)  # noqa: S311 - spreads load
        if new:
            runtime.offers.forget([flight_id])
        request = BookRequest(flight_id, user=f"client {number}", ttl_seconds=HOLD_SECONDS, actor="bench")
        with suppress(NoSeatsAvailableError):
            book(runtime, request)
        return 1

    if not new:
        for flight_id in flight_ids:
            operation(flight_id)
    return operation


def _bare_parameters(bare: floors.Bare, flight_ids: Sequence[str], number: int) -> Callable[[], dict[str, Any]]:
    """What the rows of one booking say: the same lengths as flightctl's."""

    def parameters() -> dict[str, Any]:
        flight_id = random.choice(flight_ids)  # noqa: S311 - spreads load
        return {
            "booking": new_booking_id(),
            "user": f"client {number}",
            "flight": flight_id,
            "seats": 1,
            "price": bare.price,
            "key": secrets.token_hex(12),
            "payment": new_payment_id(),
            "reason": f"booked: 1 seat held on {flight_id}",
            "operation": f"{number:016}",
        }

    return parameters


def bare_one_by_one(settings: Settings, flight_ids: Sequence[str], number: int, *, writers: int = 1) -> Operation:
    bare = floors.Bare(_preferring(settings, number % writers))
    key, seats, *children = (bare.text(statement) for statement in floors.BOOK)
    draw = _bare_parameters(bare, flight_ids, number)

    def operation() -> int:
        values = draw()
        bare.begin()
        try:
            bare.execute(key, values)
            if bare.execute(seats, values) != 1:
                bare.roll_back()
                return 0
            for statement in children:
                bare.execute(statement, values)
            bare.commit()
        except Exception as error:  # noqa: BLE001 - of either driver; looked at there
            return _draw_again(bare, error)
        return 1

    return operation


def bare_all_at_once(settings: Settings, flight_ids: Sequence[str], number: int) -> Operation:
    bare = floors.Bare(settings)
    text = ";".join([bare.text(statement) for statement in floors.BOOK] + ["COMMIT"])
    draw = _bare_parameters(bare, flight_ids, number)

    def operation() -> int:
        try:
            bare.all_at_once(text, draw())
        except Exception as error:  # noqa: BLE001 - of either driver; looked at there
            return _draw_again(bare, error)
        return 1

    return operation


def _draw_again(bare: floors.Bare, error: Exception) -> int:
    """Nothing was booked when the id was taken or another server's transaction came first; any other error ends the
    bench."""
    bare.roll_back()
    if not (bare.was_taken(error) or bare.conflicted(error)):
        raise error
    return 0


def bare_refusal(settings: Settings, flight_ids: Sequence[str], number: int) -> Operation:
    """Key and seats, read one after the other: a replay would have to be answered first."""
    bare = floors.Bare(settings)
    key, seats = (bare.text(statement) for statement in floors.SOLD_OUT)
    draw = _bare_parameters(bare, flight_ids, number)

    def operation() -> int:
        values = draw()
        if bare.rows(key, values) or bare.rows(seats, values)[0][0] >= values["seats"]:
            raise AssertionError("the flight is not sold out")
        bare.commit()
        return 1

    return operation
