"""The sweep as cron runs it: several at once, one that outlives its minute, and nothing to say."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.builders import LONG_AGO, World
from tests.cli.daemons import until
from tests.conftest import Backend, Cli
from tests.servers import mysql_connection

TWO_KINDS = pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
SERVER = pytest.mark.parametrize("backend", ["mysql"], indirect=True)


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line(seats=200)
    yield made
    faults = made.faults()
    made.close()
    assert faults == []


def lapsed(world: World, count: int) -> list[str]:
    bookings = [world.booked("CF_DEL_BLR_F1_F2" if n % 3 == 0 else f"F{n % 3 + 1}") for n in range(count)]
    world.sql("UPDATE seat_reservations SET expires_at = %s WHERE deleted_at IS NULL", LONG_AGO)
    return bookings


def ended_once(world: World, bookings: list[str]) -> None:
    assert world.one("SELECT COUNT(*) FROM bookings WHERE status = 'EXPIRED'") == len(bookings)
    events = world.sql(
        "SELECT booking_id, COUNT(*) FROM booking_events WHERE to_status = 'EXPIRED' GROUP BY booking_id"
    )
    assert dict(events) == dict.fromkeys(bookings, 1)
    assert world.available("F1", "F2", "F3") == [200, 200, 200]


@TWO_KINDS
def test_sweeps_that_overlap_end_every_hold_once(world: World, cli: Cli, backend: Backend) -> None:
    bookings = lapsed(world, 60)
    sweeps = [cli.start("sweep", "--batch-size", "7", "-o", "json", env=backend.env) for _ in range(4)]
    results = [cli.finish(process) for process in sweeps]
    assert sum(result.json()["expiredBookings"] for result in results) == 60
    assert sum(result.json()["seatsReleased"] for result in results) == 80
    assert [result.stderr for result in results] == [""] * 4
    ended_once(world, bookings)
    quiet = cli("sweep", env=backend.env)
    assert (quiet.stdout, quiet.stderr) == ("", ""), "cron would send a mail"


@SERVER
def test_a_sweep_that_outlives_its_minute(world: World, cli: Cli, backend: Backend) -> None:
    """It is frozen wherever it happens to be. The next one ends what is not in the first's hands, and soon."""
    bookings = lapsed(world, 60)
    env = backend.env | {"FLIGHTCTL_DATABASE_LOCK_TIMEOUT": "1s"}
    slow = cli.start("sweep", "--batch-size", "2", "-o", "json", env=env)
    until(lambda: world.one("SELECT COUNT(*) FROM bookings WHERE status = 'EXPIRED'"), "its first batch")
    slow.send_signal(signal.SIGSTOP)
    following = cli("sweep", "--batch-size", "2", "-o", "json", env=env, check=None)
    left = world.one("SELECT COUNT(*) FROM bookings WHERE status = 'PENDING'")
    assert following.code == (9 if left else 0)
    slow.send_signal(signal.SIGCONT)
    total = following.json()["expiredBookings"] + cli.finish(slow).json()["expiredBookings"]
    assert total == 60
    ended_once(world, bookings)


@SERVER
def test_what_others_keep_is_passed_over_at_once(world: World) -> None:
    """A booking and a flight are kept by a transaction that hangs. One wait for locks is borne, not one a batch."""
    bookings = lapsed(world, 60)  # of a smaller table the server would scan, and lock, all rows
    runtime = world.another(FLIGHTCTL_DATABASE_LOCK_TIMEOUT="1s")
    kept = [booking for booking in bookings if "F3" in dict(world.holds(booking))]
    other = bookings[0]
    connection = mysql_connection(world.backend.database_url)
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    cursor.execute("SELECT * FROM flights WHERE flight_id = 'F3' FOR UPDATE")
    cursor.execute("SELECT * FROM bookings WHERE booking_id = %s FOR UPDATE", (other,))
    from flightctl.core.sweeper import sweep

    result = sweep(runtime, batch_size=3)
    assert result.expired_bookings == 60 - len(kept) - 1
    assert [line.partition(":")[0] for line in result.skipped] == sorted([*kept, other])
    assert runtime.database.counters["retries.lock_timeout"] == 1
    cursor.execute("ROLLBACK")
    connection.close()
    assert sweep(runtime).expired_bookings == len(kept) + 1
    ended_once(world, bookings)
