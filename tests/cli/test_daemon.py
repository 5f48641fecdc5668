"""The daemon as an operator runs it: a process that sweeps and pays until it is told to stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.builders import CONNECTIONS, World, text_of
from tests.cli.daemons import Daemon, Starter, until
from tests.conftest import Backend, Cli
from tests.faults import free_port
from tests.servers import MariaDB, Redis

TWO_KINDS = pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
SERVER = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    faults = made.faults()
    made.close()
    assert faults == []


@pytest.fixture
def start(cli: Cli, backend: Backend) -> Starter:
    return Starter(cli, backend.env)


def beating(world: World) -> int:
    return int(world.one("SELECT COUNT(*) FROM worker_heartbeats"))


@TWO_KINDS
def test_it_keeps_days_packed(world: World, start: Starter, cli: Cli) -> None:
    daemon = start(FLIGHTCTL_SEARCH_PACKED_DAYS="3")
    assert daemon.lines[0]["loops"] == "sweep,payments,pack"
    until(
        lambda: world.one("SELECT COUNT(packed_at) FROM packed_days") == 7,
        "the day before, three days and three after them",
    )
    until(lambda: beating(world) == 3, "the loops' heartbeats")
    cli("flights", "cancel", "F2", "--yes", env=world.backend.env)
    until(lambda: len(daemon.events("packed")) == 8, "the day that the change unpacked")
    assert daemon.events("packed")[-1]["flights"] == "2"
    assert daemon.end(signal.SIGTERM) == 0
    assert {line["level"] for line in daemon.lines} == {"info"}


@TWO_KINDS
def test_it_may_do_nothing_but_pack(world: World, start: Starter) -> None:
    daemon = start("--no-sweep", "--no-payments", FLIGHTCTL_SEARCH_PACKED_DAYS="1")
    assert daemon.lines[0]["loops"] == "pack"
    until(lambda: world.one("SELECT COUNT(packed_at) FROM packed_days") == 5, "its days")
    assert daemon.end(signal.SIGTERM) == 0


def test_it_sweeps_and_pays_until_told_to_stop(world: World, start: Starter) -> None:
    lapsed, paid, cancelled = world.booked(seats=2), world.booked("CF_DEL_BLR_F1_F2"), world.confirmed("F3")
    world.lapse(lapsed)
    world.release(cancelled)
    daemon = start("--sweep-interval", "200ms")
    until(lambda: world.status(lapsed) == "EXPIRED", "the sweep")
    until(lambda: world.status(paid) == "CONFIRMED", "the payment")
    until(lambda: world.paid(cancelled) == ["REFUNDED"], "the refund")
    until(lambda: beating(world) == 2, "both loops' heartbeats")
    assert daemon.end(signal.SIGTERM) == 0

    assert {line["level"] for line in daemon.lines} == {"info"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"]) for line in daemon.lines)
    assert daemon.lines[0]["event"] == "started"
    assert daemon.lines[0]["loops"] == "sweep,payments"
    assert daemon.total("swept", "bookings") == 1
    assert daemon.total("swept", "seats") == 2
    assert daemon.total("paid", "succeeded") == 1
    assert daemon.total("paid", "refunded") == 1
    assert daemon.events("draining", signal="SIGTERM")
    assert daemon.lines[-1] == daemon.lines[-1] | {"event": "stopped", "drained": "true"}
    assert beating(world) == 0
    assert world.available("F1", "F2", "F3") == [8, 8, 9]


@SERVER
def test_a_booking_that_waits_makes_the_processor_ask_at_once(world: World, start: Starter) -> None:
    start("--no-sweep", FLIGHTCTL_PAYMENTS_INTERVAL="50ms")
    booking = world.booked()
    until(lambda: world.status(booking) == "CONFIRMED", "the payment", timeout=2)


@EMBEDDED
def test_sigint_lets_the_payment_in_hand_finish(world: World, start: Starter) -> None:
    booking = world.booked()
    daemon = start(FLIGHTCTL_GATEWAY_DELAY="1s")
    until(lambda: world.paid(booking) == ["PROCESSING"], "the claim")
    assert daemon.end(signal.SIGINT) == 0
    assert daemon.events("draining", signal="SIGINT")
    assert daemon.lines[-1]["drained"] == "true"
    assert world.status(booking) == "CONFIRMED"


@EMBEDDED
def test_a_second_signal_ends_it_at_once(world: World, start: Starter) -> None:
    booking = world.booked()
    daemon = start(FLIGHTCTL_GATEWAY_DELAY="20s")
    until(lambda: world.paid(booking) == ["PROCESSING"], "the claim")
    began = time.monotonic()
    assert daemon.end(signal.SIGTERM, signal.SIGTERM) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 2
    assert world.status(booking) == "PENDING"


@EMBEDDED
def test_draining_has_an_end_and_exits_0(world: World, cli: Cli, backend: Backend) -> None:
    """With a drain of one second instead of thirty."""
    booking = world.booked()
    code = (
        "import sys, flightctl.core.daemon as d; d.DRAIN_SECONDS = 1; from flightctl.app import run;"
        " sys.exit(run(['daemon', '--no-sweep']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=cli.env | backend.env | {"FLIGHTCTL_GATEWAY_DELAY": "20s"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    daemon = Daemon(process)
    until(lambda: world.paid(booking) == ["PROCESSING"], "the claim")
    assert daemon.end(signal.SIGTERM) == 0
    assert daemon.lines[-1]["drained"] == "false"
    assert daemon.lines[-1]["event"] == "stopped"


@SERVER
def test_three_daemons_share_sixty_payments(world: World, start: Starter) -> None:
    world.flight("BIG", seats=100)
    bookings = [world.booked("BIG", user=f"u{n}") for n in range(60)]
    slow = {"FLIGHTCTL_GATEWAY_DELAY": "300ms", "FLIGHTCTL_PAYMENTS_BATCH_SIZE": "8"}
    daemons = [Daemon(start.cli.start("daemon", "--no-sweep", env=start.env | slow)) for _ in range(3)]
    until(lambda: count(world, "CONFIRMED") == 60, "60 confirmed bookings", timeout=60)
    assert [daemon.end(signal.SIGTERM) for daemon in daemons] == [0, 0, 0]
    assert sum(daemon.total("paid", "succeeded") for daemon in daemons) == 60
    assert world.one("SELECT COUNT(*) FROM mock_gateway_ledger") == 60
    assert world.one("SELECT MAX(attempts) FROM payments") == 1, "a payment was claimed twice"
    assert world.available("BIG") == [40]
    assert len(bookings) == 60


@SERVER
def test_the_payments_of_a_killed_daemon_are_taken_over(world: World, start: Starter) -> None:
    world.flight("BIG", seats=100)
    for n in range(40):
        world.booked("BIG", user=f"u{n}")
    slow = {"FLIGHTCTL_GATEWAY_DELAY": "250ms", "FLIGHTCTL_PAYMENTS_LEASE": "1s"}
    victim = start("--no-sweep", **slow)
    until(lambda: world.one("SELECT COUNT(*) FROM payments WHERE status = 'PROCESSING'"), "the first claims")
    victim.process.kill()
    victim.process.wait(5)
    left = world.one("SELECT COUNT(*) FROM payments WHERE status = 'PROCESSING'")
    assert left > 0
    others = [start("--no-sweep", **slow) for _ in range(2)]
    until(lambda: count(world, "CONFIRMED") == 40, "40 confirmed bookings", timeout=60)
    assert [daemon.end(signal.SIGTERM) for daemon in others] == [0, 0]
    assert world.one("SELECT COUNT(*) FROM mock_gateway_ledger") == 40
    assert world.one("SELECT COUNT(*) FROM payments WHERE attempts > 1") >= left


def count(world: World, status: str) -> int:
    return int(world.one("SELECT COUNT(*) FROM bookings WHERE status = %s", status))


def _swept(world: World, daemon: Daemon, warnings: int) -> None:
    """The daemon sweeps a booking, and has asked Redis for its locks: payments ask for none."""

    def expired() -> bool:
        booking = world.booked("F2")
        world.lapse(booking)
        until(lambda: world.status(booking) != "PENDING", "the end of a booking")
        return world.status(booking) == "EXPIRED"  # or it was paid meanwhile

    until(expired, "a sweep")
    until(lambda: len(daemon.events("redis")) >= warnings, "a word about Redis")


def test_it_survives_its_database_and_its_redis(private_mariadb: MariaDB, private_redis: Redis, cli: Cli) -> None:
    private_mariadb.create_database("flightctl_daemon")
    backend = Backend("mysql+redis", private_mariadb.url("flightctl_daemon"), private_redis.url)
    cli("db", "upgrade", env=backend.env)
    world = World(backend)
    world.line()
    start = Starter(cli, backend.env | {"FLIGHTCTL_REDIS_PAUSE": "200ms", "FLIGHTCTL_DATABASE_RETRY_TIMEOUT": "1s"})
    daemon = start("--sweep-interval", "200ms")
    first = world.booked()
    until(lambda: world.status(first) == "CONFIRMED", "the first payment")

    private_redis.kill()
    second = world.booked()
    until(lambda: world.status(second) == "CONFIRMED", "a payment without Redis")
    _swept(world, daemon, 1)
    private_redis.start()
    time.sleep(0.3)  # the pause; an idle daemon does not ask Redis
    _swept(world, daemon, 2)

    world.close()
    CONNECTIONS.pop(backend.database_url).close()
    private_mariadb.kill()
    daemon.wait_for("error", loop="payments")
    daemon.wait_for("error", loop="sweep")
    assert {line["code"] for line in daemon.events("error")} == {"DATABASE_UNAVAILABLE"}
    waits = start()  # one that starts meanwhile waits as well
    waits.wait_for("error")
    private_mariadb.start()
    daemon.wait_for("recovered", loop="payments")
    daemon.wait_for("recovered", loop="sweep")
    again = World(backend)
    fourth = again.booked()
    until(lambda: again.status(fourth) == "CONFIRMED", "a payment after the restart")
    assert daemon.end(signal.SIGTERM) == 0
    assert waits.end(signal.SIGTERM) == 0
    assert again.faults() == []
    again.close()


def test_a_database_that_is_down_does_not_keep_it_from_stopping(cli: Cli) -> None:
    nowhere = {"FLIGHTCTL_DATABASE_URL": f"mysql+pymysql://u:secret@127.0.0.1:{free_port()}/x"}
    daemon = Starter(cli, nowhere)()
    daemon.wait_for("error", loop="sweep")
    assert daemon.end(signal.SIGTERM) == 0
    assert not any("secret" in value for line in daemon.lines for value in line.values())


# --- book --wait -----------------------------------------------------------------------------------------------------


@TWO_KINDS
def test_waiting_without_a_processor_is_refused_at_once(world: World, start: Starter, backend: Backend) -> None:
    sweeper = start("--no-payments")
    until(lambda: beating(world) == 1, "the sweeper's heartbeat")
    refused = start.cli("book", "F1", "--user", "asha", "--wait", "-o", "json", env=backend.env, check=7)
    assert refused.stdout == ""
    assert refused.error["code"] == "SERVICE_UNAVAILABLE"
    assert refused.error["retryable"] is True
    assert refused.error["details"]["idempotencyKey"]
    assert "daemon" in refused.error["hint"]
    assert world.one("SELECT COUNT(*) FROM bookings") == 0
    assert world.available("F1") == [9]
    assert sweeper.end(signal.SIGTERM) == 0


@SERVER
def test_waiting_for_a_daemon(world: World, start: Starter, backend: Backend) -> None:
    wait = ("book", "F1", "--user", "asha", "--wait", "-o", "json", "--idempotency-key", "k1")
    daemon = start("--no-sweep")
    until(lambda: beating(world), "the heartbeat")
    confirmed = start.cli(*wait, env=backend.env).json()
    assert (confirmed["status"], confirmed["replayed"]) == ("CONFIRMED", False)
    replayed = start.cli(*wait, env=backend.env).json()
    assert replayed == confirmed | {"replayed": True}
    assert daemon.end(signal.SIGTERM) == 0
    assert world.available("F1") == [8]


@TWO_KINDS
def test_every_end_of_waiting(world: World, start: Starter, backend: Backend) -> None:
    """The processor is this test: it only says that it is alive."""
    now = text_of(datetime.now(UTC) + timedelta(seconds=20))
    world.sql("INSERT INTO worker_heartbeats VALUES ('test', 'payments', %s, %s)", now, now)
    ends = {
        "CONFIRMED": (0, "", ()),
        "FAILED": (11, "PAYMENT_DECLINED", ()),
        "EXPIRED": (6, "HOLD_EXPIRED", ("--ttl", "1s")),
        "CANCELLED": (6, "INVALID_STATE", ()),
        "PENDING": (8, "WAIT_TIMEOUT", ("--timeout", "300ms")),
    }
    waiting = {
        end: start.cli.start(
            "book", "F1", "--user", end, "--idempotency-key", end, "--wait", "-o", "json", *args, env=backend.env
        )
        for end, (_, _, args) in ends.items()
    }
    until(lambda: world.one("SELECT COUNT(*) FROM bookings") == 5, "five bookings")
    ids = dict(world.sql("SELECT user_id, booking_id FROM bookings"))
    world.callback(ids["CONFIRMED"])
    world.callback(ids["FAILED"], "FAILURE")
    world.release(ids["CANCELLED"])
    until(lambda: world.sweep().expired_bookings, "the end of the hold")
    for end, (code, error, _) in ends.items():
        result = start.cli.finish(waiting[end], check=code)
        booking = result.json()
        assert (booking["status"], booking["bookingId"]) == (end, ids[end])
        assert list(booking)[-1] == "replayed"
        if error:
            assert (result.error["code"], result.error["retryable"]) == (error, end == "PENDING")
            assert result.error["details"]["idempotencyKey"] == end
        else:
            assert result.stderr == ""


# --- options ---------------------------------------------------------------------------------------------------------


@EMBEDDED
def test_metrics(world: World, start: Starter) -> None:
    port = free_port()
    booking, lapsed = world.booked(), world.booked()
    world.lapse(lapsed)
    daemon = start("--metrics-port", str(port), "--sweep-interval", "100ms")
    until(lambda: world.status(booking) == "CONFIRMED" and world.status(lapsed) == "EXPIRED", "the work")

    def metrics() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}

    until(lambda: metrics().get("flightctl_payments_succeeded_total") == 1, "the payment's count")
    until(lambda: metrics()["flightctl_expired_bookings_total"] == 1, "the sweep's count")
    assert time.time() - metrics()["flightctl_last_sweep_timestamp_seconds"] < 5
    taken = start.cli("daemon", "--metrics-port", str(port), env=start.env, check=2)
    assert f"{port} cannot be opened: Address already in use. Take a free port" in taken.stderr
    assert daemon.end(signal.SIGTERM) == 0


@EMBEDDED
def test_without_the_sweep_or_without_the_payments(world: World, start: Starter) -> None:
    lapsed, waiting = world.booked(), world.booked()
    world.lapse(lapsed)
    payer = start("--no-sweep", "--sweep-interval", "100ms")
    until(lambda: world.status(waiting) == "CONFIRMED", "the payment")
    assert world.status(lapsed) == "PENDING"
    assert payer.end(signal.SIGTERM) == 0
    assert payer.lines[0]["loops"] == "payments"
    waiting = world.booked()
    sweeper = start("--no-payments", "--sweep-interval", "100ms")
    until(lambda: world.status(lapsed) == "EXPIRED", "the sweep")
    assert world.paid(waiting) == ["REQUESTED"]
    assert sweeper.end(signal.SIGTERM) == 0
    assert sweeper.lines[0]["loops"] == "sweep"


def test_an_empty_database_is_named(cli: Cli, mysql_url: str) -> None:
    refused = cli("daemon", "-o", "json", env={"FLIGHTCTL_DATABASE_URL": mysql_url}, check=7)
    assert refused.error["code"] == "SCHEMA_MISMATCH"
    assert "flightctl db upgrade" in refused.error["hint"]
    assert refused.error["retryable"] is False


@EMBEDDED
def test_a_wrong_redis_url_ends_it(start: Starter) -> None:
    refused = start.cli("daemon", "-o", "json", env=start.env | {"FLIGHTCTL_REDIS_URL": "http://x"}, check=2)
    assert refused.error["code"] == "CONFIG_ERROR"
