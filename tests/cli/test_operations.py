"""The daemon among its neighbours: systemd, the journal, Prometheus, whoever asks /healthz; and what ships for them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import World
from tests.cli.daemons import LINE, Starter, start_patched, until
from tests.conftest import Backend, Cli
from tests.faults import free_port
from tests.servers import MariaDB

CONFIG = Path(__file__).resolve().parents[2] / "config"
README = (CONFIG.parent / "README.md").read_text(encoding="utf-8")
METRIC = re.compile(r"\bflightctl_[a-z_]+")
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


class Manager:
    """The service manager's end of the socket, path or abstract."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.heard: list[str] = []

    def lines(self) -> list[str]:
        """All that was said until now, a line an assignment."""
        self.socket.setblocking(False)
        while True:
            try:
                self.heard += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def says(self, text: str) -> bool:
        return any(line.startswith(text) for line in self.lines())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@flightctl-test-{os.getpid()}")
    yield made
    made.socket.close()


# --- systemd and the journal -----------------------------------------------------------------------------------------


@EMBEDDED
def test_it_tells_systemd_how_it_goes(world: World, start: Starter, manager: Manager) -> None:
    daemon = start(NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="200000")
    until(lambda: manager.says("READY=1"), "READY")
    until(lambda: manager.says("WATCHDOG=1") and manager.says("STATUS=working"), "the watchdog")
    assert not manager.says("STOPPING=1")
    assert daemon.end(signal.SIGTERM) == 0
    lines = manager.lines()
    assert lines[0] == "READY=1"
    assert lines.index("STOPPING=1") > lines.index("WATCHDOG=1")


@EMBEDDED
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_without_a_watchdog_it_sends_none(world: World, start: Starter, manager: Manager) -> None:
    """Nor for one that was meant for the process that started it."""
    others = start(NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    until(lambda: manager.says("READY=1"), "READY")
    assert others.end(signal.SIGTERM) == 0
    assert not manager.says("WATCHDOG=1")


@EMBEDDED
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_the_watchdog_hears_nothing_of_a_loop_that_is_stuck(
    world: World,
    cli: Cli,
    backend: Backend,
    manager: Manager,
) -> None:
    """The payment loop waits for ever; a loop may be silent for half a second here instead of two minutes."""
    world.booked()
    patches = (
        "import threading; d.patience = lambda settings: 0.5;"
        " d.payments.run_once = lambda *_, **__: threading.Event().wait()"
    )
    port = free_port()
    env = backend.env | {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    daemon = start_patched(cli, env, patches, "--metrics-port", str(port))
    until(lambda: manager.says("STATUS=the payments loop has not moved"), "the complaint")
    beats = manager.lines().count("WATCHDOG=1")
    told = len(manager.lines())
    until(lambda: len(manager.lines()) > told + 3, "more words")
    assert manager.lines().count("WATCHDOG=1") == beats
    assert "payments" in daemon.wait_for("stuck")["detail"]
    code, document = health(port)
    assert (code, document["loops"]) == (503, {"sweep": "ok", "payments": "failing"})
    assert "has not moved" in document["reasons"][0]


@EMBEDDED
def test_lines_for_the_journal_have_priorities(world: World, cli: Cli, backend: Backend) -> None:
    """JOURNAL_STREAM must name the very stream: one inherited by a daemon that logs elsewhere changes nothing."""
    nowhere = {"FLIGHTCTL_DATABASE_URL": f"mysql+pymysql://u:secret@127.0.0.1:{free_port()}/x"}
    for matches in (True, False):
        reading, writing = os.pipe()
        there = os.fstat(writing)
        stream = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino + (not matches)}"}
        command = [sys.executable, "-m", "flightctl", "daemon"]
        process = subprocess.Popen(command, env=cli.env | nowhere | stream, stdout=subprocess.DEVNULL, stderr=writing)
        os.close(writing)
        lines = []
        told = False
        with os.fdopen(reading, encoding="utf-8") as log:
            for line in log:
                lines.append(line.rstrip("\n"))
                if "event=error" in line and not told:  # once: a second signal would kill it
                    process.send_signal(signal.SIGTERM)
                    told = True
        assert process.wait(20) == 0
        prefixes = {re.sub(r"ts=.*", "", line) for line in lines}
        # A warning, "<4>", where the daemon has waited long enough to give one.
        assert prefixes - {"<4>"} == ({"<3>", "<6>"} if matches else {""})
        assert all(LINE.fullmatch(re.sub(r"^<\d>", "", line)) for line in lines)
        if matches:
            assert all(line.startswith("<3>") for line in lines if "level=error" in line)


# --- /healthz and /metrics -------------------------------------------------------------------------------------------


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def health(port: int) -> tuple[int, dict[str, Any]]:
    code, text = get(port, "/healthz")
    return code, json.loads(text)


def metrics(port: int) -> dict[str, float]:
    lines = get(port, "/metrics")[1].splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_health_follows_the_database(private_mariadb: MariaDB, cli: Cli) -> None:
    """Down at the start, there, and gone again. Late is two seconds here instead of fifteen."""
    private_mariadb.create_database("flightctl_health")
    env = {"FLIGHTCTL_DATABASE_URL": private_mariadb.url("flightctl_health"), "FLIGHTCTL_DATABASE_RETRY_TIMEOUT": "0s"}
    cli("db", "upgrade", env=env)
    private_mariadb.kill()
    port = free_port()
    patches = (
        "import flightctl.core.vitals_watch as w; d.LATE_SECONDS = 2; d.BEAT_SECONDS = 0.1;"
        " w.FRESH_SECONDS = 0.0; w.KEEP_SECONDS = 0.5"
    )
    daemon = start_patched(cli, env, patches, "--metrics-port", str(port))
    daemon.wait_for("started")
    code_before, document = health(port)
    assert (code_before, document["status"]) == (503, "unhealthy")
    assert document["reasons"][0].startswith("the database has not been reached yet")
    figures = metrics(port)
    assert figures["flightctl_database_up"] == 0
    assert "flightctl_holds" not in figures, "better no figure than an old one"
    private_mariadb.start()
    until(lambda: health(port)[0] == 200, "health")
    assert health(port)[1]["reasons"] == []
    until(lambda: metrics(port)["flightctl_database_up"] == 1, "the database's metric")
    until(lambda: metrics(port).get('flightctl_workers_alive{loop="payments"}') == 1, "the worker's metric")
    private_mariadb.kill()
    until(lambda: health(port)[0] == 503, "sickness")
    assert "does not answer" in " ".join(health(port)[1]["reasons"])
    until(lambda: metrics(port)["flightctl_database_up"] == 0, "the database's metric")
    assert daemon.end(signal.SIGTERM) == 0


@SERVER
def test_what_others_do_is_in_the_metrics(world: World, start: Starter) -> None:
    """Bookings are made and ended by this test; the daemon only sweeps, and only once an hour."""
    port = free_port()
    daemon = start("--no-payments", "--sweep-interval", "1h", "--metrics-port", str(port))
    until(lambda: metrics(port)["flightctl_last_sweep_timestamp_seconds"], "the first sweep")
    world.confirmed()
    late = world.booked()
    world.lapse(late)
    world.release(world.confirmed("F3"))
    until(lambda: metrics(port)["flightctl_bookings_total"] == 3, "the bookings")
    figures = metrics(port)
    assert figures['flightctl_booking_outcomes_total{status="CONFIRMED"}'] == 2
    assert figures['flightctl_booking_outcomes_total{status="CANCELLED"}'] == 1
    assert figures["flightctl_bookings_pending"] == figures["flightctl_holds"] == figures["flightctl_holds_lapsed"] == 1
    assert figures["flightctl_sweep_lag_seconds"] > 3600
    assert figures['flightctl_payments_waiting{status="REQUESTED"}'] == 1
    assert figures['flightctl_refunds_due{paid_by="gateway"}'] == 1
    assert figures["flightctl_refunds_due_amount"] == 1000
    assert figures["flightctl_redis_up"] == 1
    world.sweep()
    until(lambda: metrics(port)['flightctl_booking_outcomes_total{status="EXPIRED"}'] == 1, "the outcome")
    assert metrics(port)["flightctl_expired_bookings_total"] == 0, "it was not this daemon's work"
    assert daemon.end(signal.SIGTERM) == 0
    world.stale.add("F1")


@SERVER
def test_every_metric_that_is_named_is_there(world: World, start: Starter) -> None:
    """In the dashboard, the alert rules and the README; and the README tells all there are."""
    port = free_port()
    daemon = start("--metrics-port", str(port), FLIGHTCTL_SEARCH_PACKED_DAYS="1")
    code, text = get(port, "/metrics")
    assert code == 200
    there = set(METRIC.findall(text))
    families = set(re.findall(r"^# TYPE (flightctl_[a-z_]+)", text, flags=re.MULTILINE))
    chapter = README.partition("**Metrics**")[2].partition("**Daily**")[0]
    for name, document in {
        "dashboard": (CONFIG / "flightctl.dashboard.json").read_text("utf-8"),
        "alerts": (CONFIG / "flightctl.alerts.yml").read_text("utf-8"),
        "README": chapter,
    }.items():
        named = set(METRIC.findall(document))
        assert named, name
        assert named <= there, f"{name} names what is not there"
    assert families <= set(METRIC.findall(chapter)), "the README does not tell them all"
    assert get(port, "/nothing")[0] == 404
    assert get(port, "/healthz?x=1")[0] == 200
    assert daemon.end(signal.SIGTERM) == 0


# --- what ships ------------------------------------------------------------------------------------------------------


def test_the_alert_rules_are_rules() -> None:
    """In the form of Prometheus' documentation, "Alerting rules"; unknown keys would stop its start."""
    document = yaml.safe_load((CONFIG / "flightctl.alerts.yml").read_text("utf-8"))
    assert set(document) == {"groups"}
    names = []
    for group in document["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
        for rule in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {
                "alert", "expr", "for", "labels", "annotations",
            }  # fmt: skip
            assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert set(rule["annotations"]) == {"summary", "description"}
            assert METRIC.search(rule["expr"])
            balanced(rule["expr"])
            names.append(rule["alert"])
    assert len(names) == len(set(names)) > 10


def balanced(expression: str) -> None:
    closing = {"(": ")", "[": "]", "{": "}"}
    expected: list[str] = []
    for char in re.sub(r'"[^"]*"', "", expression):
        if char in closing:
            expected.append(closing[char])
        elif char in closing.values():
            assert expected.pop() == char, expression
    assert not expected, expression


def test_the_dashboard_is_one() -> None:
    document = json.loads((CONFIG / "flightctl.dashboard.json").read_text("utf-8"))
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert all(panel["title"] and panel["targets"] for panel in panels)
    for panel in panels:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        for target in panel["targets"]:
            assert METRIC.search(target["expr"])
            balanced(target["expr"])


def test_the_unit_speaks_to_systemd() -> None:
    unit = (CONFIG / "flightctl.service").read_text("utf-8")
    assert "\nType=notify\n" in unit
    assert re.search(r"^WatchdogSec=\d+$", unit, flags=re.MULTILINE)
    families = re.search(r"^RestrictAddressFamilies=(.*)$", unit, flags=re.MULTILINE)
    assert families
    assert "AF_UNIX" in families[1].split(), "the socket of sd_notify"
