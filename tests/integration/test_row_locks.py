"""Who changes one booking waits for nobody that keeps the rows of another: not on small tables either, of which a server
would rather read everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.util import immutabledict

from flightctl.core import cancellation, holds, payments, reservations, sweeper
from flightctl.core.runtime import Runtime
from tests.builders import TWO_LEGS, World
from tests.servers import mysql_connection

SERVER = pytest.mark.parametrize("backend", ["mysql"], indirect=True)
WAITED = "retries.lock_timeout"


@contextmanager
def kept(world: World, booking: str) -> Iterator[None]:
    """Somebody else is busy with that booking."""
    connection = mysql_connection(world.backend.database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute("START TRANSACTION")
            for table, index in (
                ("bookings", "PRIMARY"),
                ("seat_reservations", "ix_seat_reservations_booking"),
                ("payments", "ix_payments_booking"),
            ):
                cursor.execute(
                    f"SELECT * FROM {table} FORCE INDEX ({index}) WHERE booking_id = %s FOR UPDATE", (booking,)
                )
        yield
    finally:
        connection.rollback()
        connection.close()


def impatient(world: World) -> Runtime:
    return world.another(FLIGHTCTL_DATABASE_LOCK_TIMEOUT="1s", FLIGHTCTL_DATABASE_RETRY_TIMEOUT="1s")


def _sweep(runtime: Runtime, world: World, ids: list[str]) -> None:
    for booking in ids:
        world.lapse(booking)
    assert sweeper.sweep(runtime).expired_bookings == len(ids)


def _release(runtime: Runtime, _: World, ids: list[str]) -> None:
    cancellation.release(runtime, ids[0], reason=None, confirmed_too=False, seats=1)
    cancellation.release(runtime, ids[0], reason=None, confirmed_too=False)


def _extend(runtime: Runtime, _: World, ids: list[str]) -> None:
    assert holds.extend(runtime, ids[0], by_seconds=60, reason=None).changed


def _process(runtime: Runtime, world: World, ids: list[str]) -> None:
    for booking in ids:
        assert payments.process(runtime, booking_id=booking).succeeded == 1
        assert world.status(booking) == "CONFIRMED"


@SERVER
@pytest.mark.parametrize("act", [_sweep, _release, _extend, _process])
@pytest.mark.parametrize("others", [0, 5])
def test_rows_of_another_booking_are_not_waited_for(
    world: World, act: Callable[[Runtime, World, list[str]], Any], others: int
) -> None:
    """Whoever keeps the other may be in front of ours in an index, or behind."""
    world.line()
    world.flight("K1", seats=9)
    first = world.booked("K1")
    ours = [world.booked(TWO_LEGS, 2) for _ in range(2)]
    last = world.booked("K1")
    for _ in range(others):
        world.booked("K1")
    runtime = impatient(world)
    with kept(world, first), kept(world, last):
        act(runtime, world, ours)
    assert runtime.database.counters[WAITED] == 0


@SERVER
def test_control_without_the_index_a_sweep_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: index_hints.by_booking."""
    for statement in sweeper._LOCK, reservations._OPEN_HOLDS, reservations._END_HOLDS:
        monkeypatch.setattr(statement, "_hints", immutabledict())
    with pytest.raises(AssertionError):
        test_rows_of_another_booking_are_not_waited_for(world, _sweep, 0)


@SERVER
def test_no_second_index_is_read_for_a_filter(world: World) -> None:
    """What a filter finds is locked too: for some bookings' holds all that are open."""
    switches, version = world.runtime.database.read(
        lambda tx: tx.execute(_text("SELECT @@optimizer_switch, VERSION()")).one()
    )
    assert "rowid_filter=off" in switches or "MariaDB" not in version


def _text(sql: str) -> Any:
    from sqlalchemy import text

    return text(sql)
