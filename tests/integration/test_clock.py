"""The database's clock decides; a client whose clock is an hour wrong changes nothing."""

import ast
import os
import re
from pathlib import Path

import pytest

import flightctl
from tests.conftest import Backend, Cli

SOURCES = sorted(Path(flightctl.__file__).parent.rglob("*.py"))
LIBFAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
OWN_CLOCK = re.compile(r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|time_ns|localtime))\b")


# Completion offers flights of about now without asking a server; the doctor holds this machine's clock against theirs; the
# daemon tells Prometheus when its loops last succeeded, in Prometheus' time. None of it decides about seats or money.
OWN_CLOCK_WANTED = {"completion_values.py", "doctor_database.py", "doctor_redis.py", "loops.py"}


def test_no_use_case_asks_this_machines_clock() -> None:
    """Guard: instants come from sql_functions.utc_now() or from Redis's TIME; time.monotonic() only measures."""
    asked = [
        f"{path.name}:{node.lineno}: {ast.unparse(node.func)}"
        for path in SOURCES
        if path.name not in OWN_CLOCK_WANTED
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and OWN_CLOCK.fullmatch(ast.unparse(node.func))
    ]
    assert asked == []


@pytest.mark.skipif(LIBFAKETIME is None, reason="libfaketime is not installed (Debian: libfaketime)")
@pytest.mark.parametrize("backend", ["mysql", "mysql+redis"], indirect=True)
@pytest.mark.parametrize("wrong", ["+1h", "-1h"])
def test_a_client_whose_clock_is_wrong(backend: Backend, cli: Cli, wrong: str) -> None:
    cli("seed", "--days", "3", env=backend.env)
    lying = {**backend.env, "LD_PRELOAD": str(LIBFAKETIME), "FAKETIME": wrong, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    flight = cli("search", "DEL", "BLR", "--date", "tomorrow", "--max-hops", "1", "-q", env=lying).stdout.split()[0]
    honest = cli("search", "DEL", "BLR", "--date", "tomorrow", "--max-hops", "1", "-q", env=backend.env).stdout.split()
    assert flight == honest[0]
    held = cli("book", flight, "--user", "asha", "--ttl", "5m", "-o", "json", env=lying).json()
    off = "SELECT ABS(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at)) FROM seat_reservations"
    assert 280 <= backend.value(off) <= 300
    assert cli("sweep", "-o", "json", env=lying).json()["expiredBookings"] == 0
    short = cli("book", flight, "--user", "bela", "--ttl", "1s", "-o", "json", env=lying).json()
    cli("payments", "process", "--booking", held["bookingId"], "--outcome", "success", env=lying)
    backend.execute("UPDATE seat_reservations SET expires_at = UTC_TIMESTAMP(6) WHERE deleted_at IS NULL")
    assert cli("sweep", "-o", "json", env=lying).json()["expiredBookings"] == 1
    states = dict(backend.execute("SELECT booking_id, status FROM bookings"))
    assert states == {held["bookingId"]: "CONFIRMED", short["bookingId"]: "EXPIRED"}


def test_the_lie_works() -> None:
    """Without this the test above would pass by doing nothing."""
    if LIBFAKETIME is None:
        pytest.skip("libfaketime is not installed (Debian: libfaketime)")
    import subprocess
    import sys
    import time

    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, "LD_PRELOAD": str(LIBFAKETIME), "FAKETIME": "+1h"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert float(told) - time.time() > 3500
