"""The tests' own tools: servers, faults, copies of a schema."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest
import redis

from tests import faults
from tests.faults import COMMIT, Action, RubbishRedis, Slow, TcpProxy, once
from tests.servers import ExternalMySQL, MariaDB, Redis, SchemaCopy, mysql_connection


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_mariadb_survives_kill_freeze_and_an_awkward_folder(tmp_path: Path) -> None:
    server = MariaDB(tmp_path / "a blank and a long name".ljust(120, "x")).start()
    try:
        server.create_database("shop")
        with mysql_connection(server.url("shop")) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (n INT PRIMARY KEY)")
            cursor.execute("INSERT INTO t VALUES (42)")
        port = server.port
        server.kill()
        assert not server.running
        with pytest.raises(pymysql.err.OperationalError):
            server.admin()
        server.start()
        assert server.port == port
        server.pause()
        server.resume()
        with mysql_connection(server.url("shop")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT n FROM t")
            assert cursor.fetchall() == ((42,),)
        server.pause()
        server.stop()  # a frozen server stops, too
        assert not server.running
    finally:
        server.discard()
    assert not server.folder.exists()


def test_redis_stops_and_comes_back_empty_on_its_port(private_redis: Redis) -> None:
    url = private_redis.url
    with private_redis.client() as client:
        client.set("k", "v")
    private_redis.kill()
    private_redis.start()
    assert private_redis.url == url
    private_redis.pause()
    impatient = redis.Redis.from_url(url, socket_timeout=0.2, retry=None)
    with pytest.raises(redis.exceptions.TimeoutError):
        impatient.get("k")
    private_redis.resume()
    assert private_redis.client().get("k") is None
    private_redis.restart()
    assert private_redis.running


def test_a_server_dies_with_a_killed_test_run(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from tests.servers import Redis;"
        "print(Redis(pathlib.Path(sys.argv[1])).start().pid, flush=True); time.sleep(60)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "redis")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    pid = int(run.stdout.readline())
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert _within(5, lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan's zombie stays until init looks, which in a container may be never.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_schema_copy_has_keys_rows_and_triggers(mariadb: MariaDB | ExternalMySQL, mysql_url: str) -> None:
    name = mysql_url.partition("?")[0].rpartition("/")[2]
    with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (id INT PRIMARY KEY, twice INT AS (id * 2) STORED)")
        cursor.execute(
            "CREATE TABLE a_child (id INT PRIMARY KEY, parent INT NOT NULL, CONSTRAINT fk FOREIGN KEY (parent)"
            " REFERENCES parent (id), CONSTRAINT positive CHECK (id > 0))"
        )
        cursor.execute("INSERT INTO parent (id) VALUES (1)")
        cursor.execute("INSERT INTO a_child VALUES (1, 1)")
    refusals = ["INSERT INTO a_child VALUES (2, 99)", "INSERT INTO a_child VALUES (-1, 1)", "DROP TABLE parent"]
    if isinstance(mariadb, MariaDB):  # elsewhere the user may not be allowed to make triggers
        refusals.append("DELETE FROM a_child")
        with mariadb.admin() as admin, admin.cursor() as cursor:
            admin.select_db(name)
            cursor.execute("CREATE TRIGGER keep BEFORE DELETE ON a_child FOR EACH ROW SIGNAL SQLSTATE '45000'")
    copy = f"{name}_copy"
    mariadb.create_database(copy)
    try:
        SchemaCopy(mariadb.admin, name).make(copy)
        with mysql_connection(mariadb.url(copy)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT p.id, twice, c.id FROM parent p JOIN a_child c ON c.parent = p.id")
            assert cursor.fetchall() == ((1, 2, 1),)
            for refused in refusals:
                with pytest.raises(pymysql.MySQLError):
                    cursor.execute(refused)
    finally:
        mariadb.drop_database(copy)


@pytest.fixture
def proxied_redis(redis_url: str) -> Any:
    parts = urlsplit(redis_url)
    with TcpProxy(parts.hostname or "", parts.port or 6379) as proxy:
        yield proxy, redis.Redis.from_url(proxy.url(redis_url), socket_timeout=0.5, retry=None)


def test_proxy_modes(proxied_redis: tuple[TcpProxy, redis.Redis]) -> None:
    proxy, client = proxied_redis
    assert client.ping()

    proxy.delay(0.1)
    started = time.monotonic()
    assert client.ping()
    assert time.monotonic() - started >= 0.1

    proxy.hold_back()
    with pytest.raises(redis.exceptions.TimeoutError):
        client.incr("n")
    proxy.pass_through()
    assert client.get("n") == b"1"  # it had arrived

    proxy.blackhole()
    with pytest.raises(redis.exceptions.TimeoutError):
        client.incr("n")
    proxy.pass_through()
    assert client.get("n") == b"1"  # it had not

    proxy.refuse()
    assert client.ping(), "an open connection goes on"
    proxy.down()
    with pytest.raises(redis.exceptions.ConnectionError):
        client.ping()
    proxy.pass_through()
    assert client.ping()
    before = proxy.accepted
    assert client.ping()
    assert proxy.accepted == before
    proxy.cut()
    assert client.ping(), "the client connects again"
    assert proxy.accepted == before + 1


@pytest.mark.parametrize(
    ("action", "committed"),
    [(Action.CUT_BEFORE_FORWARD, False), (Action.CUT_BEFORE_ANSWER, True), (Action.FORWARD, True)],
)
def test_proxy_cuts_at_commit(mysql_url: str, action: Action, committed: bool) -> None:
    with mysql_connection(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n INT PRIMARY KEY)")
        with TcpProxy(connection.host, connection.port) as proxy:
            proxy.on_client_bytes = once(COMMIT, action)
            victim = mysql_connection(proxy.url(mysql_url))
            victim.autocommit(False)
            victim.cursor().execute("INSERT INTO t VALUES (1)")
            if action is Action.FORWARD:
                victim.commit()
            else:
                with pytest.raises(pymysql.err.OperationalError):
                    victim.commit()
        cursor.execute("SET innodb_lock_wait_timeout = 5")
        cursor.execute("SELECT COUNT(*) FROM t LOCK IN SHARE MODE")  # waits for the end of the cut transaction
        assert cursor.fetchall() == ((int(committed),),)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (faults.READONLY, redis.exceptions.ReadOnlyError),
        (faults.OUT_OF_MEMORY, redis.exceptions.OutOfMemoryError),
        (faults.LOADING, redis.exceptions.BusyLoadingError),
        (faults.NO_AUTH, redis.exceptions.AuthenticationError),
        (faults.WRONG_TYPE, redis.exceptions.ResponseError),
        (faults.hang_up, redis.exceptions.ConnectionError),
        (faults.HANG, redis.exceptions.TimeoutError),
        (Slow(5.0), redis.exceptions.TimeoutError),
        (lambda _: b"\xff\xfe no RESP\r\n", redis.exceptions.RedisError),
        (Slow(0.05, faults.bulk(b"late")), b"late"),
        (faults.integer(7), 7),
        (faults.array([b"x", None]), [b"x", None]),
    ],
)
def test_rubbish_redis(answer: faults.Answer, outcome: Any) -> None:
    with RubbishRedis(answer, per_command={"set": b"+OK\r\n"}) as server:
        client = redis.Redis.from_url(server.url, socket_timeout=0.3, retry=None)
        assert client.set("k", "v")
        if isinstance(outcome, type):
            with pytest.raises(outcome):
                client.get("k")
        else:
            assert client.get("k") == outcome
        assert [b"GET", b"k"] in server.commands
