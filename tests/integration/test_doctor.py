"""``doctor`` is right about what is broken, and names the next step."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flightctl.core.database import Database
from flightctl.core.doctor import examine
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime
from tests.builders import LONG_AGO, World, at, text_of
from tests.conftest import Backend
from tests.faults import LOOPBACK, TcpProxy, free_port
from tests.servers import MariaDB, Redis

SERVER = pytest.mark.parametrize("backend", ["mysql"], indirect=True)
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def checks_of(runtime: Runtime) -> dict[str, DoctorCheck]:
    return {check.name: check for check in examine(runtime)}


def finding(runtime: Runtime, name: str, state: str) -> str:
    """Detail and hint of a check that must be in that state."""
    check = checks_of(runtime)[name]
    assert check.state == state, check
    assert state == "ok" or check.hint, "without a next step"
    return f"{check.detail} {check.hint or ''}"


def ago(seconds: float) -> str:
    return text_of(datetime.now(UTC) - timedelta(seconds=seconds))


@pytest.fixture
def proxy(backend: Backend) -> Iterator[TcpProxy]:
    """Before the database; ``elsewhere`` is the settings' variable that leads through it."""
    parts = urlsplit(backend.database_url)
    with TcpProxy(parts.hostname or LOOPBACK, parts.port or 3306) as made:
        yield made


# --- when all is well ------------------------------------------------------------------------------------------------


def test_all_is_well(world: World) -> None:
    world.line()
    world.flight("C1", departs=at(40), status="CANCELLED")  # nobody can sell it
    world.sql("INSERT INTO worker_heartbeats VALUES ('vm1:77:ab:payments', 'payments', %s, %s)", ago(90), ago(1))
    world.sql("INSERT INTO worker_heartbeats VALUES ('vm1:77:ab:sweep', 'sweep', %s, %s)", ago(90), ago(1))
    checks = checks_of(world.runtime)
    assert {check.state for check in checks.values()} == {"ok"}, checks
    names = {"configuration", "database", "schema", "writes", "flights", "sweep", "processor", "payments", "refunds"}
    names |= {"disruptions"}
    names |= {"disk"} if world.backend.is_sqlite else {"durability", "clock"}
    assert set(checks) == names | {"redis"} | ({"redis clock"} if world.backend.redis_url else set())
    assert "3 still to depart" in checks["flights"].detail
    assert f"the last on {at(14):%Y-%m-%d}" in checks["flights"].detail
    assert "vm1 since " in checks["processor"].detail
    assert "vm1 since " in checks["sweep"].detail
    assert "secret" not in str(checks)


# --- the work --------------------------------------------------------------------------------------------------------


def test_holds_that_nobody_sweeps(world: World) -> None:
    world.line()
    booking = world.booked()
    assert "1 open holds" in finding(world.runtime, "sweep", "ok")
    world.sql("UPDATE seat_reservations SET expires_at = %s", ago(30))
    assert "1 lapsed holds wait" in finding(world.runtime, "sweep", "ok"), "the next sweep is soon enough"
    world.sql("UPDATE seat_reservations SET expires_at = %s", ago(3600))
    assert "the oldest for 60 min" in finding(world.runtime, "sweep", "warning")
    assert "flightctl sweep" in finding(world.runtime, "sweep", "warning")
    world.sweep()
    assert world.status(booking) == "EXPIRED"
    assert "no lapsed hold" in finding(world.runtime, "sweep", "ok")


def test_a_processor_that_is_dead(world: World) -> None:
    world.line()
    world.booked()
    assert "1 bookings are PENDING" in finding(world.runtime, "processor", "warning")
    world.sql("INSERT INTO worker_heartbeats VALUES ('vm7:77:ab:payments', 'payments', %s, %s)", ago(9000), ago(300))
    told = finding(world.runtime, "processor", "warning")
    assert "vm7 (process 77), was seen 5 min ago" in told
    assert "systemctl start flightctl" in told


def test_payments_that_wait_and_payments_that_are_stuck(world: World) -> None:
    world.line()
    booking = world.booked()
    assert "1 wait to be charged, the oldest for 0 s" in finding(world.runtime, "payments", "ok")
    world.sql("UPDATE payments SET created_at = %s", ago(300))
    assert "the oldest for 5 min" in finding(world.runtime, "payments", "warning")
    world.sql("UPDATE payments SET status = 'PROCESSING', claimed_until = %s", ago(-20))
    assert "1 at the gateway" in finding(world.runtime, "payments", "ok")
    world.sql("UPDATE payments SET claimed_until = %s", ago(600))
    assert "1 of them unanswered, the oldest 10 min over" in finding(world.runtime, "payments", "warning")
    world.sql("UPDATE payments SET status = 'REQUESTED', claimed_until = NULL")
    world.release(booking)
    assert "none is waiting" in finding(world.runtime, "payments", "ok")


def test_refunds_that_are_due_for_long(world: World) -> None:
    world.line()
    world.release(world.confirmed())
    assert "1 due, 1000.00 in all" in finding(world.runtime, "refunds", "ok")
    world.sql("UPDATE refunds SET created_at = %s", LONG_AGO)
    assert "payments list --due" in finding(world.runtime, "refunds", "warning")
    world.sql("UPDATE payments SET source = 'AGENT'")
    told = finding(world.runtime, "refunds", "warning")
    assert "1 of them by hand" in told
    assert "payments refund PAYMENT" in told


def test_nothing_left_to_sell(world: World) -> None:
    assert "seed" in finding(world.runtime, "flights", "warning")


# --- the database ----------------------------------------------------------------------------------------------------


@SERVER
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("refuse", ("refuses connections", "start the database server")),
        ("blackhole", ("does not answer", "hangs")),
        ("drop", ("hangs up", "log")),
    ],
)
def test_a_database_that_does_not_answer(world: World, proxy: TcpProxy, trouble: str, words: tuple[str, str]) -> None:
    if trouble == "drop":
        proxy.target = (LOOPBACK, free_port())
    else:
        getattr(proxy, trouble)()
    runtime = world.another(FLIGHTCTL_DATABASE_URL=proxy.url(world.backend.database_url))
    told = finding(runtime, "database", "failed")
    assert all(word in told for word in words), told
    assert f"127.0.0.1:{proxy.port}" in told
    assert "secret" not in told
    assert set(checks_of(runtime)) == {"configuration", "database", "redis"}, "nothing else can be told"


@SERVER
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ((":secret@", ":wrong@"), ("refuses this account", "user and password")),
        ((":secret@", ":wrong/wrong@"), ("refuses this account", "user and password")),
        (("/flightctl_test_", "/no_such_"), ("does not exist", "flightctl db upgrade")),
        (("@127.0.0.1", "@no-such-host.invalid"), ("name that nobody knows", "Check the host")),
    ],
)
def test_a_url_that_is_wrong(world: World, broken: tuple[str, str], words: tuple[str, str]) -> None:
    runtime = world.another(FLIGHTCTL_DATABASE_URL=world.backend.database_url.replace(*broken))
    told = finding(runtime, "database", "failed")
    assert all(word in told for word in words), told
    assert "wrong" not in told


def test_a_schema_that_is_behind_or_ahead(migrated_mysql_url: str) -> None:
    backend = Backend("mysql", migrated_mysql_url, "")
    for revision, step in ("0000", "db upgrade"), ("9999", "newer"):
        backend.execute("UPDATE alembic_version SET version_num = %s", [revision])
        runtime = Runtime(backend.settings())
        assert "MariaDB" in finding(runtime, "database", "ok") or "MySQL" in finding(runtime, "database", "ok")
        assert step in finding(runtime, "schema", "failed")
        assert "sweep" not in checks_of(runtime)
        runtime.close()


def test_a_server_that_forgets_that_is_read_only_and_whose_clock_is_wrong(tmp_path: Path) -> None:
    """The clock: whoever is no administrator begins with one that is an hour ahead."""
    server = MariaDB(
        tmp_path / "server", "--sync-binlog=0", "--init-connect=SET timestamp=UNIX_TIMESTAMP()+3600"
    ).start()
    try:
        server.create_database("f")
        backend = Backend("mysql", server.url("f"), "")
        database = Database(backend.settings())
        database.upgrade()
        database.close()
        runtime = Runtime(backend.settings())
        told = finding(runtime, "durability", "warning")
        assert "sync_binlog = 0" in told
        assert "flush_log" not in told
        told = finding(runtime, "clock", "warning")
        assert re.search(r"the database's is 3[56]\d\d\.\d s ahead of", told), told  # its clock stands still
        assert "taken in" in finding(runtime, "writes", "ok")
        admin: Any = server.admin()
        with admin.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = 1, GLOBAL max_connections = 10")
            assert "read-only" in finding(runtime, "writes", "failed")
            many = [server.admin() for _ in range(7)]
            assert "max_connections" in finding(runtime, "database", "warning")
            for connection in many:
                connection.close()
            cursor.execute("SET GLOBAL read_only = 0, GLOBAL innodb_flush_log_at_trx_commit = 2")
            assert "innodb_flush_log_at_trx_commit = 2" in finding(runtime, "durability", "warning")
            cursor.execute("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'secret'")
            cursor.execute("GRANT SELECT ON f.* TO reader@'127.0.0.1'")
        reader = Runtime(Backend("mysql", server.url("f").replace("flightctl:", "reader:", 1), "").settings())
        assert "only read" in finding(reader, "writes", "warning")
        admin.close()
        for one in (runtime, reader):
            one.close()
    finally:
        server.discard()


@EMBEDDED
def test_a_disk_that_is_nearly_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GB free" in finding(world.runtime, "disk", "ok")
    for free, state in (500_000_000, "warning"), (1_000_000, "failed"):
        usage = shutil.disk_usage(".")._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert "Free space" in finding(world.runtime, "disk", state)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    runtime = Runtime(Backend("sqlite", f"sqlite:///{tmp_path / 'x.db'}", "").settings())
    assert "not a flightctl database" in finding(runtime, "database", "failed")
    runtime.close()


@EMBEDDED
def test_production_on_the_embedded_file(world: World) -> None:
    runtime = world.another(FLIGHTCTL_ENVIRONMENT="production")
    assert "FLIGHTCTL_DATABASE_URL" in finding(runtime, "configuration", "warning")


def test_a_variable_that_nothing_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTCTL_TEST_DATABASE_URL", "of the tests")
    monkeypatch.setenv("FLIGHTCTL_COLOUR", "of somebody else")
    finding(world.runtime, "configuration", "ok")
    monkeypatch.setenv("FLIGHTCTL_DB_URL", "mysql+pymysql://db/flightctl")
    assert "FLIGHTCTL_DATABASE_URL" in finding(world.runtime, "configuration", "warning")


# --- Redis -----------------------------------------------------------------------------------------------------------


@EMBEDDED
def test_every_trouble_with_redis_is_only_a_warning(world: World, private_redis: Redis) -> None:
    def redis(state: str = "warning", url: str = private_redis.url) -> str:
        runtime = world.another(FLIGHTCTL_REDIS_URL=url)
        return finding(runtime, "redis", state)

    told = redis("ok")
    assert "no limit" in told
    assert "answers in" in told
    with private_redis.client() as client:
        client.config_set("maxmemory", "100mb")
        assert "allkeys-lru" in redis()
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" in redis("ok")
        client.execute_command("REPLICAOF", LOOPBACK, str(free_port()))
        assert "read only replica" in redis()
        client.execute_command("REPLICAOF", "NO", "ONE")
        client.config_set("requirepass", "hush")
    told = redis()
    assert "it refuses the password" in told
    assert "hush" not in told
    private_redis.pause()
    assert "SLOWLOG" in redis()
    private_redis.resume()
    private_redis.kill()
    assert "no connection" in redis()
    assert "redis://" in redis("failed", "http://x")
