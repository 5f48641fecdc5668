"""A database that refuses, forgets or dies: the right error and exit status, nothing half done, no secret told."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from flightctl.core import database, database_engine, database_tries
from flightctl.core.errors import FlightctlError
from flightctl.core.runtime import Runtime
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Job, make_runtime, perform
from tests.concurrency.support import ZM, ZMA, A, World, Z
from tests.conftest import Backend, _upgrade
from tests.servers import ExternalMySQL, MariaDB, mysql_connection

PASSWORD = "hunter2-xyzzy"


@pytest.fixture
def lost_tries(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each failed try failed by."""
    failures: list[Any] = []
    pause = database.Tries.pause_or_give_up

    def counting(self: Any, error: Any, trouble: Any, operation: Any) -> None:
        failures.append(trouble)
        pause(self, error, trouble, operation)

    monkeypatch.setattr(database.Tries, "pause_or_give_up", counting)
    return failures


Admin = Callable[[str], None]


@pytest.fixture
def admin(world: World, mariadb: MariaDB | ExternalMySQL) -> Iterator[Admin]:
    """Runs statements that need more rights, in the world's database."""
    connection = mariadb.admin()
    connection.select_db(world.backend.database_url.partition("?")[0].rpartition("/")[2])
    yield lambda sql: connection.cursor().execute(sql)  # type: ignore[return-value]
    connection.close()


STEPS = {
    "the key": "INSERT ON bookings",
    "the seats": "UPDATE ON flights",
    "the holds": "INSERT ON seat_reservations",
    "the legs": "INSERT ON booking_flights",
    "the payment": "INSERT ON payments",
    "the story": "INSERT ON booking_events",
}


def _fail(admin: Admin, step: str, number: int, times: int) -> None:
    """The server answers that error at that step, so often (generated numbers do not roll back)."""
    admin("DROP TRIGGER IF EXISTS fails")
    admin("DROP TABLE IF EXISTS failures")
    admin("CREATE TABLE failures (id INT AUTO_INCREMENT PRIMARY KEY)")
    admin(
        f"CREATE TRIGGER fails BEFORE {STEPS[step]} FOR EACH ROW BEGIN INSERT INTO failures VALUES (NULL); "
        f"IF LAST_INSERT_ID() <= {times} THEN "
        f"SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'on purpose'; END IF; END"
    )


@on("mysql", "mysql+redis", own=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_deadlock_at_any_step_runs_the_whole_transaction_again(
    world: World, admin: Admin, lost_tries: list[Any], step: str
) -> None:
    """Guard: the whole-transaction retry of Database; the control is the next test."""
    world.fill(seats=9)
    _fail(admin, step, 1213, times=3)
    assert acts.book(world.own, ZMA, 2)["replayed"] is False
    assert len(lost_tries) == 3
    assert world.value("SELECT COUNT(*) FROM bookings") == 1
    assert world.available(Z) == 7
    assert world.problems() == []


@on("mysql", own=True)
@pytest.mark.parametrize("step", STEPS)
def test_conflicts_without_end_are_reported_and_leave_nothing(
    world: World, admin: Admin, lost_tries: list[Any], step: str
) -> None:
    world.fill(seats=9)
    _fail(admin, step, 1213, times=1_000_000)
    with pytest.raises(FlightctlError) as caught:
        acts.book(world.own, ZM, 2, key="k")
    assert (caught.value.code, caught.value.exit_status, caught.value.retryable) == ("LOCK_ACQUISITION_FAILED", 7, True)
    assert caught.value.details["idempotencyKey"] == "k"
    assert len(lost_tries) == database_tries.CONFLICT_ATTEMPTS
    assert world.value("SELECT COUNT(*) FROM bookings") == 0
    assert world.problems() == []
    admin("DROP TRIGGER fails")
    assert acts.book(world.own, ZM, 2, key="k")["replayed"] is False


@on("mysql", own=True)
def test_control_without_the_retry_one_deadlock_is_an_error(
    world: World, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_tries, "CONFLICT_ATTEMPTS", 1)
    world.fill(seats=9)
    _fail(admin, "the holds", 1213, times=1)
    assert perform(world.own, Job("book", {}, {"identifier": Z})).code == "LOCK_ACQUISITION_FAILED"


@on("mysql", own=True)
def test_a_lock_timeout_is_tried_once_more(world: World, admin: Admin, lost_tries: list[Any]) -> None:
    """MySQL rolls back only the statement on 1205: committing then would keep half the work."""
    world.fill(seats=9)
    _fail(admin, "the payment", 1205, times=1)
    acts.book(world.own, ZM, 2)
    assert len(lost_tries) == 1
    assert world.problems() == []
    _fail(admin, "the payment", 1205, times=1_000_000)
    told = perform(world.own, Job("book", {}, {"identifier": ZM}))
    assert told.code == "LOCK_ACQUISITION_FAILED"
    assert len(lost_tries) == 1 + database_tries.LOCK_TIMEOUT_ATTEMPTS
    assert world.value("SELECT COUNT(*) FROM bookings") == 1
    assert world.problems() == []


@on("mysql", own=True)
@pytest.mark.parametrize("act", ["confirm", "release", "callback", "sweep", "process"])
def test_other_commands_run_again_after_deadlocks_too(
    world: World, admin: Admin, lost_tries: list[Any], act: str
) -> None:
    world.fill(seats=9)
    booking = acts.book(world.own, ZM, 2)["booking"]
    if act == "sweep":
        world.lapse()
    _fail(admin, "the story", 1213, times=3)
    arguments = {"booking": booking} if act != "sweep" else {}
    assert perform(world.own, Job(act, {}, arguments)).code == "done"
    assert len(lost_tries) == 3
    assert world.status(booking) != "PENDING"
    assert world.problems() == []


@on("mysql", own=True)
def test_a_real_lock_timeout(world: World) -> None:
    """Somebody else sits on the flight's row for longer than anyone waits."""
    world.fill(seats=9)
    runtime = world.runtime(FLIGHTCTL_DATABASE_LOCK_TIMEOUT="1s")
    other = mysql_connection(world.backend.database_url)
    other.begin()
    other.cursor().execute("SELECT * FROM flights WHERE flight_id = %s FOR UPDATE", (Z,))
    started = time.monotonic()
    told = perform(runtime, Job("book", {}, {"identifier": ZM}))
    assert told.code == "LOCK_ACQUISITION_FAILED"
    assert 1.5 < time.monotonic() - started < 5
    other.rollback()
    other.close()
    assert world.problems() == []
    assert world.value("SELECT COUNT(*) FROM bookings") == 0
    assert acts.book(runtime, ZM)["status"] == "PENDING"


@on("mysql", own=True)
def test_a_real_deadlock_chosen_by_the_server(world: World, lost_tries: list[Any]) -> None:
    """Another transaction, with more behind it, holds Z and wants A; the booking holds A and wants Z: it is the victim."""
    world.fill(seats=9)
    other = mysql_connection(world.backend.database_url)
    cursor = other.cursor()
    other.begin()
    for number in range(200):
        cursor.execute(
            "INSERT INTO worker_heartbeats VALUES (%s, 'other', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))", (f"w{number}",)
        )
    cursor.execute("SELECT * FROM flights WHERE flight_id = %s FOR UPDATE", (Z,))
    told: list[Any] = []
    buyer = threading.Thread(target=lambda: told.append(perform(world.own, Job("book", {}, {"identifier": ZMA}))))
    buyer.start()
    time.sleep(0.4)
    cursor.execute("SELECT * FROM flights WHERE flight_id = %s FOR UPDATE", (A,))
    other.rollback()
    other.close()
    buyer.join(20)
    assert told[0].code == "done"
    assert lost_tries == [database.Trouble.CONFLICT]
    assert world.problems() == []


# --- servers of the test's own


@pytest.fixture
def alone(private_mariadb: MariaDB) -> Iterator[World]:
    """A world on a server that nobody else uses."""
    private_mariadb.create_database("lonely")
    _upgrade(private_mariadb.url("lonely"))
    world = World(Backend("mysql", private_mariadb.url("lonely"), ""), FLIGHTCTL_DATABASE_RETRY_TIMEOUT="30s")
    yield world.fill(seats=60)
    world.close()


def test_a_server_killed_and_restarted_in_mid_work(alone: World, private_mariadb: MariaDB) -> None:
    """Whoever was at work goes on when it is back; nobody is told of it, and nothing happens twice."""
    told: list[Any] = []
    connected = threading.Barrier(5, timeout=30)

    def buyer(number: int) -> None:
        runtime = make_runtime(alone.env)
        runtime.database.read(lambda tx: tx)
        connected.wait()
        for turn in range(8):
            told.append(perform(runtime, Job("book", {}, {"identifier": ZM, "key": f"{number}-{turn}"})))
            time.sleep(0.05)
        runtime.close()

    buyers = [threading.Thread(target=buyer, args=(number,)) for number in range(4)]
    for thread in buyers:
        thread.start()
    connected.wait()
    for _ in range(2):
        time.sleep(0.15)
        private_mariadb.kill()
        private_mariadb.start()
    for thread in buyers:
        thread.join(60)
    alone.disconnect()
    assert [outcome.code for outcome in told] == ["done"] * 32, told
    assert not any(outcome.value["replayed"] for outcome in told)
    assert alone.value("SELECT COUNT(*) FROM bookings") == 32
    assert alone.available(Z) == 28
    assert alone.problems() == []


def test_a_server_that_turns_commands_away(alone: World, private_mariadb: MariaDB) -> None:
    """Read-only, then full: the reason is named, exit 7, nothing is done; and all is well again afterwards."""
    admin = private_mariadb.admin()
    booking = acts.book(alone.own, ZM, 2)["booking"]
    admin.cursor().execute("SET GLOBAL read_only = 1")
    for act, arguments in (
        ("book", {"identifier": Z}),
        ("confirm", {"booking": booking}),
        ("release", {"booking": booking}),
    ):
        with pytest.raises(FlightctlError) as caught:
            acts.ACTS[act](alone.own, **arguments)
        assert (caught.value.code, caught.value.exit_status) == ("DATABASE_UNAVAILABLE", 7)
        assert "read-only" in caught.value.message
    admin.cursor().execute("SET GLOBAL read_only = 0")
    assert alone.status(booking) == "PENDING"
    assert alone.problems() == []

    admin.cursor().execute("SET GLOBAL max_connections = 10")
    taken = []
    with pytest.raises(pymysql.MySQLError):
        while True:
            taken.append(mysql_connection(alone.backend.database_url))
    fresh = make_runtime(alone.env)
    with pytest.raises(FlightctlError) as caught:
        acts.book(fresh, Z)
    assert (caught.value.code, caught.value.exit_status) == ("DATABASE_UNAVAILABLE", 7)
    assert "too many connections" in caught.value.message
    for connection in taken:
        connection.close()
    admin.cursor().execute("SET GLOBAL max_connections = 300")
    admin.close()
    time.sleep(0.1)
    assert acts.book(fresh, Z)["status"] == "PENDING"
    fresh.close()
    assert alone.problems() == []


def test_a_server_that_is_down(alone: World, private_mariadb: MariaDB) -> None:
    private_mariadb.stop()
    alone.disconnect()
    fresh = make_runtime(alone.env)
    started = time.monotonic()
    _expect(fresh, "DATABASE_UNAVAILABLE", 7)
    assert time.monotonic() - started < 5, "one that never answered is not waited for"
    private_mariadb.start()
    assert acts.book(fresh, Z)["status"] == "PENDING"
    fresh.close()


# --- databases that are not what they should be


def _expect(runtime: Runtime, code: str, exit_status: int) -> FlightctlError:
    with pytest.raises(FlightctlError) as caught:
        acts.book(runtime, Z, key="k")
    error = caught.value
    assert (error.code, error.exit_status) == (code, exit_status), error.message
    for text in (error.message, error.hint, str(error.details)):
        assert PASSWORD not in text
        assert "secret" not in text
        assert "SELECT" not in text
    return error


@on("mysql", own=True)
def test_a_database_that_is_not_ours(world: World) -> None:
    url = world.backend.database_url
    _expect(world.runtime(FLIGHTCTL_DATABASE_URL=url + "_none"), "DATABASE_UNAVAILABLE", 7)
    wrong = url.replace("flightctl:secret@", f"flightctl:{PASSWORD}@")
    if wrong != url:
        assert (
            "refuses this account"
            in _expect(world.runtime(FLIGHTCTL_DATABASE_URL=wrong), "DATABASE_UNAVAILABLE", 7).message
        )
    closed = f"mysql+pymysql://u:{PASSWORD}@127.0.0.1:1/x"
    _expect(world.runtime(FLIGHTCTL_DATABASE_URL=closed), "DATABASE_UNAVAILABLE", 7)


@on("mysql", own=True)
def test_a_schema_of_another_time(world: World, mysql_url: str) -> None:
    world.fill(seats=9)
    for revision, word in ("0000", "older"), ("9999", "newer"):
        world.execute("UPDATE alembic_version SET version_num = %s", (revision,))
        error = _expect(world.runtime(), "SCHEMA_MISMATCH", 7)
        assert word in error.message
        assert not error.retryable
    world.execute("DROP TABLE alembic_version")
    assert "no flightctl schema" in _expect(world.runtime(), "SCHEMA_MISMATCH", 7).message


@on("mysql", own=True)
def test_a_schema_with_a_hole(world: World) -> None:
    world.fill(seats=9)
    runtime = world.runtime()
    world.execute("DROP TABLE booking_events")
    _expect(runtime, "SCHEMA_MISMATCH", 7)
    assert world.available(Z) == 9
    assert world.value("SELECT COUNT(*) FROM bookings") == 0


# --- SQLite


@on("sqlite")
def test_a_locked_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes for longer than anyone waits; reading goes on meanwhile."""
    monkeypatch.setattr(database_engine, "SQLITE_BUSY_SECONDS", 1)
    world.fill(seats=9)
    runtime = world.runtime()
    world.execute("BEGIN IMMEDIATE")
    error = _expect(runtime, "LOCK_ACQUISITION_FAILED", 7)
    assert error.retryable
    world.execute("ROLLBACK")
    assert world.problems() == []
    assert acts.book(runtime, Z, key="k")["replayed"] is False


@on("sqlite")
def test_a_file_that_is_no_database(world: World, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Sir or Madam, " * 200)
    _expect(world.runtime(FLIGHTCTL_DATABASE_URL=f"sqlite:///{file}"), "CONFIG_ERROR", 2)
    assert file.read_text().startswith("Dear")
    _expect(world.runtime(FLIGHTCTL_DATABASE_URL="sqlite:////proc/nowhere/x.db"), "DATABASE_UNAVAILABLE", 7)
    _expect(world.runtime(FLIGHTCTL_DATABASE_URL=f"sqlite:///{tmp_path}"), "DATABASE_UNAVAILABLE", 7)


@on("sqlite")
@pytest.mark.parametrize("kind", ["file", "folder", "new file"])
def test_a_file_that_may_not_be_written(world: World, kind: str) -> None:
    """As an ordinary user, whoever runs the tests."""
    world.fill(seats=9)
    world.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.disconnect()
    folder = Path(tempfile.mkdtemp())
    try:
        if kind != "new file":
            shutil.copy(world.backend.database_url.removeprefix("sqlite:///"), folder / "x.db")
            (folder / "x.db").chmod(0o444 if kind == "file" else 0o666)
        folder.chmod(0o777 if kind == "file" else 0o555)
        env = world.env | {"FLIGHTCTL_DATABASE_URL": f"sqlite:///{folder / 'x.db'}"}
        assert _as_nobody(env) == "DATABASE_UNAVAILABLE 7"
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def _as_nobody(env: dict[str, str]) -> str:
    """Code and exit status of a booking by a user with no rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "?"
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            acts.book(make_runtime(env), Z)
        except FlightctlError as error:
            text = f"{error.code} {error.exit_status}"
        except BaseException as error:  # noqa: BLE001 - told to the parent
            text = repr(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told
