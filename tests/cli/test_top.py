"""``top`` on a terminal, in a pipe and without a database, and ``wait``."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from tests.builders import DAY, LONG_AGO, World
from tests.cli.daemons import until
from tests.conftest import Backend, Cli
from tests.servers import MariaDB

TWO_KINDS = pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    faults = made.faults()
    made.close()
    assert faults == []


class Screen:
    """`flightctl` on a terminal of its own; ``text`` is all it ever drew."""

    def __init__(self, cli: Cli, env: dict[str, str], *args: str, columns: int = 80, lines: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flightctl", *args],
            env=cli.env | env | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        self._theirs = theirs
        self._raw = b""
        self._ended = False

    def read(self) -> str:
        while not self._ended and select.select([self._ours], [], [], 0.05)[0]:
            self._raw += os.read(self._ours, 65536)
        return self._raw.decode("utf-8", "replace")

    def shows(self, words: str) -> bool:
        return words in ESCAPES.sub("", self.read())

    def frames(self) -> list[list[str]]:
        """Each from the cursor's way home to the next."""
        return [ESCAPES.sub("", frame).split("\n") for frame in self.read().split("\x1b[H")[1:]]

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        self.read()
        self._ended = True
        assert termios.tcgetattr(self._theirs) == self.before, "the terminal is not as it was"
        for descriptor in (self._ours, self._theirs):
            os.close(descriptor)
        return code


# --- the screen ------------------------------------------------------------------------------------------------------


@TWO_KINDS
def test_a_live_screen_of_80_by_24(world: World, cli: Cli, backend: Backend) -> None:
    bookings = [world.booked(user=f"u{n}") for n in range(3)]
    world.release(world.confirmed("F2"))
    world.lapse(bookings[0])
    screen = Screen(cli, backend.env, "top", "--interval", "200ms")
    until(lambda: screen.shows("hot flight"), "a frame")
    for words in ("3 open", "1 lapsed", "no processor", "3 waiting", "1 due", "1000.00", bookings[1], "F1", "3/9  33%"):
        assert screen.shows(words), words
    world.confirmed("F3")
    until(lambda: screen.shows("F3"), "what is new")
    screen.press("q")
    assert screen.end() == 0
    for frame in screen.frames()[:-1]:
        assert len(frame) <= 24
        assert all(len(line) <= 80 for line in frame)
    assert screen.read().count("\x1b[?1049h") == screen.read().count("\x1b[?1049l") == 1, "the screen of before is back"
    assert "Traceback" not in screen.read()


@EMBEDDED
@pytest.mark.parametrize("how", ["ctrl-c", "term"])
def test_other_ways_to_leave(world: World, cli: Cli, backend: Backend, how: str) -> None:
    screen = Screen(cli, backend.env, "top")
    until(lambda: screen.shows("hot flight"), "a frame")
    screen.process.send_signal(signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
    assert screen.end() == 0
    assert "\x1b[?1049l" in screen.read()


def test_the_screen_outlives_its_database(private_mariadb: MariaDB, cli: Cli) -> None:
    private_mariadb.create_database("flightctl_top")
    backend = Backend("mysql", private_mariadb.url("flightctl_top"), "")
    cli("db", "upgrade", env=backend.env)
    private_mariadb.kill()
    env = backend.env | {"FLIGHTCTL_DATABASE_RETRY_TIMEOUT": "0s"}
    screen = Screen(cli, env, "top", "--interval", "200ms", columns=120, lines=30)
    until(lambda: screen.shows("the database does not answer"), "the trouble")
    private_mariadb.start()
    until(lambda: screen.shows("0 open"), "the figures")
    private_mariadb.kill()
    until(lambda: screen.shows("; figures of "), "the age of the figures")
    screen.press("q")
    assert screen.end() == 0
    refused = cli("top", "-o", "json", env=backend.env, check=7)
    assert (refused.stdout, refused.error["code"]) == ("", "DATABASE_UNAVAILABLE")


@TWO_KINDS
def test_one_look(world: World, cli: Cli, backend: Backend) -> None:
    booking = world.booked(seats=2)
    world.sql("UPDATE payments SET created_at = %s", LONG_AGO)
    look = cli("top", "-o", "json", env=backend.env).json()
    assert (look["bookings"]["lastMinute"], look["bookings"]["pending"], look["bookings"]["recent"]["PENDING"]) == (
        1,
        1,
        1,
    )
    [hold] = look["holds"]["next"]
    assert (hold["bookingId"], hold["flightId"], hold["seats"]) == (booking, "F1", 2)
    assert 200 < hold["secondsLeft"] <= 300
    [hot] = look["hottest"]
    assert (hot["flightId"], hot["load"], hot["recentSeats"], hot["totalSeats"]) == ("F1", 0.222, 2, 9)
    assert hot["departureTime"].startswith(f"{DAY:%Y-%m-%d}T11:30:00+05:30")
    assert look["payments"]["oldestRequestedSeconds"] > 1e6
    assert look["workers"] == {"sweep": 0, "payments": 0}
    assert look["redis"] == ("up" if backend.redis_url else "none")

    lines = cli("top", "--once", env=backend.env).stdout.splitlines()
    assert lines[0] == "area\tname\tvalue"
    assert all(line.count("\t") == 2 for line in lines)
    assert "holds\topen\t1" in lines
    screen = Screen(cli, backend.env, "top", "--once", columns=100)
    assert screen.end() == 0
    assert screen.shows(f"{booking}  F1")
    assert "\x1b[?1049h" not in screen.read(), "it stays to be read"
    cli("top", "--interval", "1ms", env=backend.env, check=2)


# --- wait ------------------------------------------------------------------------------------------------------------


@TWO_KINDS
def test_every_end_of_a_wait(world: World, cli: Cli, backend: Backend) -> None:
    ids = {name: world.booked(user=name) for name in ("paid", "declined", "lapsed", "released", "still")}
    world.callback(ids["paid"])
    world.callback(ids["declined"], "FAILURE")
    world.release(ids["released"])
    world.lapse(ids["lapsed"])
    world.sweep()
    waits = [
        ("paid", "confirmed", 0, None),
        ("paid", "ended", 0, None),
        ("paid", "expired", 6, "INVALID_STATE"),
        ("paid", "cancelled", 8, "WAIT_TIMEOUT"),
        ("declined", "confirmed", 11, "PAYMENT_DECLINED"),
        ("declined", "FAILED,expired", 0, None),
        ("lapsed", "confirmed", 6, "HOLD_EXPIRED"),
        ("released", "confirmed", 6, "INVALID_STATE"),
        ("still", "confirmed", 8, "WAIT_TIMEOUT"),
    ]
    running = [
        cli.start("wait", ids[name].lower(), "--for", state, "--timeout", "300ms", "-o", "json", env=backend.env)
        for name, state, _, _ in waits
    ]
    for process, (name, state, code, error) in zip(running, waits, strict=True):
        result = cli.finish(process, check=code)
        booking = result.json()
        assert booking["bookingId"] == ids[name], (name, state)
        assert booking["status"] == world.status(ids[name])
        assert (result.error["code"] if error else None) == error
        if name == "still":
            assert "no payment processor is alive" in result.stderr
    cli("wait", "NOSUCH", env=backend.env, check=3)
    cli("wait", ids["paid"], "--for", "pending", env=backend.env, check=2)
    cli("wait", ids["paid"], "--timeout", "2d", env=backend.env, check=2)


@EMBEDDED
def test_a_wait_that_is_rewarded(world: World, cli: Cli, backend: Backend) -> None:
    booking = world.booked()
    waiting = cli.start("wait", booking, "-q", env=backend.env)
    assert waiting.stderr is not None
    assert "no payment processor" in waiting.stderr.readline(), "it has begun"
    world.callback(booking)
    assert cli.finish(waiting).stdout == f"{booking}\n"
