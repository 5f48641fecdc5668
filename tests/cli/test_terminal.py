"""What a person at a terminal gets beyond the data: suggestions, UTC, a pager, help on topics, manual pages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flightctl.app import run
from flightctl.core import errors, suggest
from flightctl.errors_shown import EXIT_CODES
from flightctl.pager import pager
from flightctl.topics import error_codes
from tests.builders import DAY, World
from tests.conftest import Backend, Cli

from .terminal import Terminal
from .tree import commands

EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    made.close()


# --- did you mean


def rename(world: World, booking: str) -> str:
    """A booking with an id of the test's choice."""
    world.execute("DELETE FROM booking_events")
    old = world.booked()
    for statement in ("PRAGMA foreign_keys = OFF", "SET FOREIGN_KEY_CHECKS = 0"):
        if world.backend.is_sqlite == statement.startswith("PRAGMA"):
            world.execute(statement)
    for table in ("bookings", "booking_flights", "booking_events", "seat_reservations", "payments"):
        world.execute(f"UPDATE {table} SET booking_id = %s WHERE booking_id = %s", (booking, old))
    for statement in ("PRAGMA foreign_keys = ON", "SET FOREIGN_KEY_CHECKS = 1"):
        if world.backend.is_sqlite == statement.startswith("PRAGMA"):
            world.execute(statement)
    return booking


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_bookings_one_slip_away(world: World) -> None:
    rename(world, "K7QX2M")
    for typed in (
        "K7OX2M",
        "K70X2M",
        "k7qxzm",
        "KTQX2M",
        "K1QX2N",
        "7KQX2M",
        "K7QX2",
        "K7QX2MM",
        "K7QX9M",
        "K7Q-X2N",
        "K7 QX 2N",
    ):
        assert suggest.similar_bookings(world.runtime, typed) == ["K7QX2M"], typed
    for typed in ("AAAAAA", "", "K7", "K7QX2M" * 20, "✈️✈️✈️", "' OR 1", "K79X9M", "000000", "LLLLLLL"):
        assert suggest.similar_bookings(world.runtime, typed) == [], typed
    rename(world, "D7QX2M")
    assert suggest.similar_bookings(world.runtime, "07QX2M") == ["D7QX2M", "K7QX2M"], "the look-alike first"


@EMBEDDED
def test_a_mistyped_booking(cli: Cli, world: World) -> None:
    rename(world, "K7QX2M")
    env = world.backend.env
    for command in (("bookings", "show"), ("confirm",), ("release",), ("payments", "process", "--booking")):
        refused = cli(*command, "K70X2M", "-o", "json", env=env, check=3)
        assert refused.error["hint"] == "Did you mean K7QX2M?"
        assert refused.stdout == ""
    assert "bookings list" in cli("bookings", "show", "AAAAAA", env=env, check=3).stderr


def test_airports(cli: Cli) -> None:
    for typed, meant in {"delhi": "DEL", "bengalooru": "BLR", "bombay": "BOM", "calcutta": "CCU"}.items():
        refused = cli("search", typed, "GOI", "--date", "today", check=2)
        assert f"Did you mean {meant} (" in refused.stderr, typed


@pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
def test_airports_that_no_flight_uses(cli: Cli, world: World) -> None:
    """DLE is an airport, of Dole."""
    env = world.backend.env
    arguments = ("search", "DLE", "BKR", "--date", f"{DAY:%Y-%m-%d}")
    for _ in range(2):  # from the database, and from what the cache then knows
        found = cli(*arguments, env=env)
        assert "No flight leaves DLE (Dole/Tavaux). Did you mean DEL (Delhi)?" in found.stderr
        assert "No flight goes to BKR (Bokoro). Did you mean BLR (Bangalore)?" in found.stderr
    for form in (("-q",), ("-o", "json")):
        assert "No flight" not in cli(*arguments, *form, env=env).stderr
    used = cli("search", "BLR", "DEL", "--date", f"{DAY:%Y-%m-%d}", env=env)
    assert "No flight goes to DEL (Delhi).\n" in used.stderr
    assert "leaves" not in used.stderr


@pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
def test_dates_without_flights(cli: Cli, world: World) -> None:
    for day, told in (
        ("2020-01-01", "2020-01-01 is in the past."),
        ("2190-01-01", f"those from {DAY:%Y-%m-%d} to {DAY:%Y-%m-%d}."),
    ):
        arguments = ("search", "DEL", "BOM", "--date", day)
        assert told in cli(*arguments, env=world.backend.env).stderr
        assert told not in cli(*arguments, "-o", "json", env=world.backend.env).stderr


# --- UTC


@EMBEDDED
def test_flight_times_in_utc(cli: Cli, world: World) -> None:
    env = world.backend.env
    day = f"{DAY:%Y-%m-%d}"
    for command in (
        ("search", "DEL", "BLR", "--date", day), ("flights", "list"), ("flights", "show", "F1"),
        ("flights", "show", "CF_DEL_BLR_F1_F2"),
    ):  # fmt: skip
        for form in ("json", "csv", "table"):
            local, utc = (cli(*command, "-o", form, *more, env=env).stdout for more in ((), ("--utc",)))
            assert "+05:30" in local
            assert "+05:30" not in utc
            assert f"{DAY:%Y-%m-%d}T" in utc
    mixed = cli(
        "-", input='{"argv":["flights","show","F1","--utc"]}\n{"argv":["flights","show","F1"]}\n', env=env
    ).stdout
    assert [line.count("+05:30") for line in mixed.splitlines()] == [0, 2], "the next command's times are its own"
    with Terminal([sys.executable, "-m", "flightctl", "--utc", "flights", "list"], cli.env | env) as terminal:
        assert terminal.end() == 0
    assert "Flight times are UTC." in terminal.text


# --- the pager


def paged(cli: Cli, world: World, *arguments: str, lines: int = 6, **variables: str) -> str:
    command = [sys.executable, "-m", "flightctl", *arguments]
    with Terminal(command, cli.env | world.backend.env | variables, lines=lines) as terminal:
        assert terminal.end() == 0
    return terminal.text


@EMBEDDED
def test_long_tables_go_through_the_pager(cli: Cli, world: World) -> None:
    for number in range(8):
        world.flight(f"X{number}")
    marks = {"FLIGHTCTL_PAGER": "sed 's/^/> /'", "PAGER": "false"}
    long = paged(cli, world, "flights", "list", **marks)
    assert long.count("> ") >= 11
    assert "> X7" in long
    for arguments, variables in {
        ("--no-pager", "flights", "list"): marks,
        ("flights", "list", "-o", "json"): marks,
        ("flights", "list", "--size", "999"): {"FLIGHTCTL_PAGER": "no-such-program"},
    }.items():
        shown = paged(cli, world, *arguments, **variables)
        assert "X7" in shown
        assert "> " not in shown, arguments
    assert "> " not in cli("flights", "list", env=world.backend.env | marks).stdout, "a pipe"
    assert "F2" in paged(cli, world, "flights", "list", FLIGHTCTL_PAGER="head -n 3"), "it need not read all"


@EMBEDDED
@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
def test_less_is_left_with_q(cli: Cli, world: World) -> None:
    for number in range(20):
        world.flight(f"X{number:02}")
    command = [sys.executable, "-m", "flightctl", "flights", "list"]
    with Terminal(command, cli.env | world.backend.env, lines=8) as terminal:
        terminal.wait_for("X19.*:")
        terminal.type("q")
        assert terminal.end() == 0
    assert "X00" not in terminal.text


def test_which_pager() -> None:
    assert pager({"TERM": "xterm", "FLIGHTCTL_PAGER": "a b", "PAGER": "c"}) == ["a", "b"]
    assert pager({"TERM": "xterm", "PAGER": "c"}) == ["c"]
    assert pager({"TERM": "xterm", "FLIGHTCTL_PAGER": "", "PAGER": "c"}) == []
    assert pager({"TERM": "xterm", "PAGER": "cat"}) == []
    assert pager({"TERM": "xterm", "PAGER": "less '"}) == []
    assert pager({"TERM": "dumb", "PAGER": "c"}) == []
    assert pager({}) == []


# --- help


def test_help_on_topics(cli: Cli) -> None:
    told = cli("help", "errors", "-o", "json").json()["content"]
    known = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    assert {row["code"] for row in told} == known | {"INTERRUPTED"}
    assert all(row["meaning"] for row in told)
    statuses = cli("help", "exit-codes", "-o", "json").json()["content"]
    assert {row["exit"] for row in statuses} == {0, *(row["exit"] for row in told)}
    assert {code for row in statuses for code in row["codes"]} == {row["code"] for row in told}
    assert "json\t" in cli("help", "formats").stdout
    for status in EXIT_CODES:
        assert f"{status} " in cli_help()


def cli_help() -> str:
    from typer.main import get_group

    from flightctl.app import app

    return str(get_group(app).help)


def test_every_error_has_its_exit_code() -> None:
    assert {each.exit for each in error_codes()} | {0} == set(EXIT_CODES)


def test_help_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    def out(*words: str) -> str:
        assert run(words) == 0
        return capsys.readouterr().out

    for path in commands():
        if path != "-":
            assert out("help", *path.split()) == out(*path.split(), "--help")
    assert out("help").startswith(out("--help"))
    assert "flightctl help exit-codes" in out("help")


def test_no_such_help(cli: Cli) -> None:
    assert "Did you mean" in cli("help", "bok", check=2).stderr
    assert "`flightctl help errors`" in cli("help", "eror", check=2).stderr
    for words in (("bookings", "lost"), ("book", "x"), ("errors", "x"), ("x" * 1000,), ("errors", "--man", "x")):
        refused = cli("help", *words, "-o", "json", check=2)
        assert refused.stdout == ""
        assert refused.error["code"] in {"USAGE", "VALIDATION_ERROR"}


def test_manual_pages(cli: Cli, tmp_path: Path) -> None:
    cli("help", "--man", tmp_path / "new" / "man")
    pages = sorted((tmp_path / "new" / "man").iterdir())
    names = {page.name for page in pages}
    assert {
        f"flightctl-{path.replace(' ', '-').replace('-', 'batch') if path == '-' else path.replace(' ', '-')}.1"
        for path in commands()
    } <= names
    assert "flightctl.1" in names
    booking = (tmp_path / "new" / "man" / "flightctl-book.1").read_text()
    assert "\\-\\-idempotency\\-key K" in booking
    assert ".SH EXIT STATUS" in booking
    (tmp_path / "file").touch()
    assert "cannot be written" in cli("help", "--man", tmp_path / "file", check=2).stderr


def test_manual_pages_are_good_roff(cli: Cli, tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    cli("help", "--man", tmp_path)
    pages: list[Any] = sorted(tmp_path.glob("*.1"))
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", *pages], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "Hold the seats of an itinerary" in done.stdout
