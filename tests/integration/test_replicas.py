"""Read replicas: searches and lists come from them while they keep up; booking and seat counts never do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flightctl.core import lists, replicas, schedule
from flightctl.core.database import Database
from flightctl.core.doctor import examine
from flightctl.core.errors import ConfigError, InvalidFlightError
from flightctl.core.packed_days import pack_days
from flightctl.core.replicas import lag_of
from flightctl.core.runtime import Runtime
from flightctl.core.settings import load_settings
from tests.builders import DAY, World, at
from tests.clusters import wait_until
from tests.conftest import Backend, _database_name, _private, _upgrade
from tests.faults import LOOPBACK, free_port
from tests.servers import ExternalMySQL, MariaDB, SchemaCopy

on_mysql = pytest.mark.parametrize("backend", ["mysql"], indirect=True)
with_redis = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)


@pytest.fixture
def copy(mariadb: MariaDB | ExternalMySQL, migrated_schema: SchemaCopy) -> Iterator[World]:
    """A second database that plays the replica: what is in it, and how old it is, the test decides."""
    name = _database_name()
    mariadb.create_database(name)
    migrated_schema.make(name)
    made = World(Backend("mysql", mariadb.url(name), ""))
    _beat(made, 0)
    yield made
    made.close()
    mariadb.drop_database(name)


def _beat(copy: World, seconds_ago: float) -> None:
    """The last heartbeat that came through to the replica."""
    copy.sql("DELETE FROM worker_heartbeats")
    copy.sql(
        "INSERT INTO worker_heartbeats (worker_id, role, started_at, seen_at) VALUES ('w', 'sweep', UTC_TIMESTAMP(6),"
        " UTC_TIMESTAMP(6) - INTERVAL %s SECOND)",
        seconds_ago,
    )


def _reading(world: World, *urls: str, **variables: str) -> Runtime:
    return world.another(FLIGHTCTL_DATABASE_READ_URLS=", ".join(urls), **variables)


def _flights(runtime: Runtime) -> set[str]:
    page = lists.list_flights(runtime, source=None, destination=None, date=None, status=None, page=0, size=50)
    return {flight.flight_id for flight in page.content}  # type: ignore[attr-defined]


@on_mysql
def test_searches_and_lists_read_the_replica_and_booking_does_not(world: World, copy: World) -> None:
    world.flight("HERE")
    copy.flight("THERE")
    runtime = _reading(world, copy.backend.database_url)
    assert _flights(runtime) == {"THERE"}
    assert [found.flight_identifier for found in world.search(runtime=runtime).content] == ["THERE"]
    world.runtime = runtime
    assert world.book("HERE").booking.flight_ids == ("HERE",)
    with pytest.raises(InvalidFlightError):
        world.book("THERE")
    assert lists.list_bookings(runtime, user=None, status=None, flight=None, page=0, size=5).total_elements == 0
    assert world.warnings == []


@on_mysql
def test_a_replica_that_lags_is_left_out_and_taken_again(
    world: World, copy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flight("HERE")
    copy.flight("THERE")
    runtime = _reading(world, copy.backend.database_url, FLIGHTCTL_DATABASE_MAX_REPLICA_LAG="5s")
    monkeypatch.setattr(replicas, "LOOK_SECONDS", 0.0)
    for age, expected in (0, "THERE"), (60, "HERE"), (1, "THERE"):
        _beat(copy, age)
        assert _flights(runtime) == {expected}
    assert world.warnings == ["no replica can be used; the primary database serves instead"]
    copy.sql("DELETE FROM worker_heartbeats")  # nobody can tell
    assert _flights(runtime) == {"HERE"}


@on_mysql
def test_a_replica_that_is_down_is_left_out(world: World, copy: World) -> None:
    world.flight("HERE")
    copy.flight("THERE")
    nobody = f"mysql+pymysql://u:p@{LOOPBACK}:{free_port()}/x"
    assert _flights(_reading(world, nobody)) == {"HERE"}
    assert world.warnings == ["no replica can be used; the primary database serves instead"]
    both = _reading(world, nobody, copy.backend.database_url)
    assert {flight for _ in range(4) for flight in _flights(both)} == {"THERE"}
    details = {check.name: (check.state, check.detail) for check in examine(both)}
    assert details["replica"][0] == "ok"
    told = [check.detail for check in examine(both) if check.state == "warning" and check.name == "replica"]
    assert len(told) == 1
    assert "does not answer" in told[0]


@with_redis
def test_seat_counts_come_from_the_primary(world: World, copy: World) -> None:
    """The cache of the seats is what all machines look at: a replica's counts must not get in."""
    world.unchecked = True  # the counts are made up
    for one, available in (world, 3), (copy, 9):
        one.flight("F1", available=available)
    runtime = _reading(world, copy.backend.database_url)
    [found] = world.search(runtime=runtime).content
    assert found.legs[0].available_seats == 3
    assert runtime.cache.seat_counts(["F1"])["F1"].seats == 3


@with_redis
def test_a_replica_that_has_not_heard_of_a_change_of_the_schedule_is_passed_over(world: World, copy: World) -> None:
    for one in world, copy:
        one.flight("F1")
    world.flight("F2", departs=at(9))
    world.runtime.database.run(lambda tx: schedule.raise_version(tx, ()))
    runtime = _reading(world, copy.backend.database_url)
    assert {found.flight_identifier for found in world.search(runtime=runtime).content} == {"F1", "F2"}


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_a_search_of_packed_days_needs_the_primary_no_more_than_one_of_rows(world: World, copy: World) -> None:
    copy.line()
    pack_days(copy.runtime, date=f"{DAY:%Y-%m-%d}", days=1)
    runtime = _reading(world, copy.backend.database_url)
    result = world.search("DEL", "MAA", runtime=runtime)
    assert (result.total_elements, result.trace.packed) == (1, True)
    away = world.another(
        FLIGHTCTL_DATABASE_URL=f"mysql+pymysql://u:p@{LOOPBACK}:{free_port()}/x",
        FLIGHTCTL_DATABASE_READ_URLS=copy.backend.database_url,
    )
    assert world.search("DEL", "MAA", runtime=away).total_elements == 1


@on_mysql
def test_a_bad_read_url_is_told_by_its_name(world: World) -> None:
    with pytest.raises(ConfigError, match=r"database\.read_urls") as caught:
        _flights(_reading(world, "http://user:hunter2@host/x"))
    assert "hunter2" not in caught.value.message


# --- a real replica


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MariaDB, MariaDB]]:
    """A primary, and a read-only replica of it."""
    for primary in _private(lambda: MariaDB(tmp_path_factory.mktemp("primary"))):
        for replica in _private(
            lambda: MariaDB(tmp_path_factory.mktemp("replica"), "--server-id=2", "--read-only", "--relay-log=relay")
        ):
            _follow(primary, replica)
            yield primary, replica


def _follow(primary: MariaDB, replica: MariaDB) -> None:
    """From what is in the primary's log now."""
    _execute(primary, "GRANT REPLICATION SLAVE ON *.* TO admin@'127.0.0.1'")
    if "MariaDB" in _execute(primary, "SELECT VERSION()")[0][0]:
        _execute(
            replica,
            f"CHANGE MASTER TO MASTER_HOST='{LOOPBACK}', MASTER_PORT={primary.port}, MASTER_USER='admin', "
            "MASTER_PASSWORD='secret', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
        )
        (position,) = _execute(primary, "SELECT @@gtid_binlog_pos")[0]
        _execute(replica, f"SET GLOBAL gtid_slave_pos='{position}'")
        right = "REPLICA MONITOR"
    else:
        file, position = _execute(primary, "SHOW BINARY LOG STATUS")[0][:2]
        _execute(
            replica,
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{LOOPBACK}', SOURCE_PORT={primary.port}, SOURCE_USER='admin', "
            f"SOURCE_PASSWORD='secret', SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS={position}, SOURCE_CONNECT_RETRY=1, "
            "GET_SOURCE_PUBLIC_KEY=1",
        )
        right = "REPLICATION CLIENT"
    _execute(replica, "START REPLICA")
    _execute(replica, f"GRANT {right} ON *.* TO {MariaDB.user}@'127.0.0.1'")


def _execute(server: MariaDB, sql: str) -> Any:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_a_real_replica_is_asked_how_far_it_is_behind(
    pair: tuple[MariaDB, MariaDB], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, replica = pair
    primary.create_database("live")
    _upgrade(primary.url("live"))
    world = World(Backend("mysql", primary.url("live"), ""))
    world.flight("F1")
    _execute(primary, "FLUSH BINARY LOGS")

    def arrived() -> bool:
        return bool(
            _execute(replica, "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'flights'")[0][0]
        )

    wait_until(arrived, what="the tables came through")
    wait_until(
        lambda: _execute(replica, "SELECT COUNT(*) FROM live.flights")[0][0] == 1, what="the flight came through"
    )
    runtime = _reading(world, replica.url("live"))
    monkeypatch.setattr(replicas, "LOOK_SECONDS", 0.0)
    database = Database(load_settings(environ={"FLIGHTCTL_DATABASE_URL": replica.url("live")}))
    assert database.read(lag_of) == 0.0
    assert _flights(runtime) == {"F1"}
    assert world.warnings == []
    _execute(replica, "STOP REPLICA SQL_THREAD")
    world.flight("F2", departs=at(9))
    assert database.read(lag_of) is None
    assert _flights(runtime) == {"F1", "F2"}
    _execute(replica, "START REPLICA SQL_THREAD")
    database.close()
    world.close()
