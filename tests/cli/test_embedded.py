"""The embedded database as a newcomer meets it: no server, no settings, any number of processes."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.builders import World
from tests.checker import violations
from tests.conftest import Backend, Cli, Result

FIRST_USE = ("bookings", "list", "-o", "json")


@pytest.fixture
def data_folder(cli: Cli) -> Path:
    return Path(cli.env["XDG_DATA_HOME"]) / "flightctl"


@pytest.fixture
def world(migrated_sqlite_url: str) -> Iterator[World]:
    made = World(Backend("sqlite", migrated_sqlite_url, ""))
    made.line()
    yield made
    made.close()


# Loads the program once, then becomes a process for each command line: importing it twenty times is not the test.
FORK = """
import json, os, sys
import alembic.command, sqlite3, flightctl.commands.book, flightctl.commands.bookings, flightctl.core.booking
import flightctl.core.lists, flightctl.core.migrate, flightctl.render
from flightctl.app import run
folder, commands = sys.argv[1], json.loads(sys.argv[2])
children = []
for number, command in enumerate(commands):
    child = os.fork()
    if not child:
        for stream, name in (1, "out"), (2, "err"):
            os.dup2(os.open(f"{folder}/{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        code = run(command)
        sys.stdout.flush()
        os._exit(code)
    children.append(child)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def all_at_once(cli: Cli, folder: Path, env: dict[str, str], commands: Sequence[Sequence[str]]) -> list[Result]:
    """As many processes as commands, at the same moment."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(folder), json.dumps(commands)],
        env=cli.env | env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [
        Result(tuple(commands[n]), code, (folder / f"{n}.out").read_text(), (folder / f"{n}.err").read_text())
        for n, code in enumerate(json.loads(done.stdout))
    ]


def test_twenty_processes_make_it_at_once(cli: Cli, data_folder: Path, tmp_path: Path) -> None:
    for result in all_at_once(cli, tmp_path / "out", {}, [FIRST_USE] * 20):
        assert (result.code, result.stderr) == (0, ""), result
        assert result.json()["totalElements"] == 0
    with sqlite3.connect(data_folder / "flightctl.db") as database:
        assert database.execute("SELECT COUNT(*) FROM alembic_version").fetchall() == [(1,)]
        airports, different = database.execute("SELECT COUNT(*), COUNT(DISTINCT iata) FROM airports").fetchone()
        assert airports == different > 3000
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert stat.S_IMODE(data_folder.stat().st_mode) & 0o077 == 0, "bookings are nobody else's to read"


def test_twenty_buyers_of_ten_seats(world: World, cli: Cli, tmp_path: Path) -> None:
    world.flight("TEN", seats=10)
    commands = [("book", "TEN", "--user", f"u{n}", "-o", "json") for n in range(20)]
    results = all_at_once(cli, tmp_path / "out", world.backend.env, commands)
    assert Counter(result.code for result in results) == {0: 10, 5: 10}
    for result in results:
        if result.code:
            assert result.error["code"] == "NO_SEATS_AVAILABLE"
            assert result.stdout == ""
    assert world.available("TEN") == [0]
    assert len({result.json()["bookingId"] for result in results if not result.code}) == 10
    assert violations(world.execute) == []


def test_the_default_file_honours_xdg_data_home(cli: Cli, tmp_path: Path, data_folder: Path) -> None:
    elsewhere = tmp_path / "else where" / "täta"
    cli("db", "upgrade", env={"XDG_DATA_HOME": str(elsewhere)})
    assert (elsewhere / "flightctl" / "flightctl.db").exists()
    assert not data_folder.exists()
    shown = cli("config", "show", "-o", "csv", env={"XDG_DATA_HOME": ""}).stdout
    assert f"{cli.env['HOME']}/.local/share/flightctl/flightctl.db" in shown


def test_it_works_from_any_directory(cli: Cli, tmp_path: Path) -> None:
    """The same data from everywhere; what ships with the package is found from everywhere as well."""
    cli("seed", "--days", "1", "-o", "json")
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); from flightctl.app import run; sys.exit(run(sys.argv[2:]))"
    for folder in (tmp_path, Path("/"), gone):
        arguments = [sys.executable, "-m", "flightctl"] if folder != gone else [sys.executable, "-c", code, str(gone)]
        done = subprocess.run(
            [*arguments, "flights", "list", "--size", "1", "-q"],
            cwd=folder,
            env=cli.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"[A-Z0-9]+-\d{8}(-[A-Z]{3})?\n", done.stdout)


@pytest.mark.parametrize(
    "args", [("flights", "list", "--size", "1000"), ("--help",), ("flights", "list", "-o", "json")]
)
def test_pipes_closed_early(cli: Cli, world: World, args: tuple[str, ...]) -> None:
    for number in range(300):
        world.flight(f"P{number}")
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "-", sys.executable, "-m", "flightctl", *args],
        env=cli.env | world.backend.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


def test_a_closed_stdout_is_no_failure(cli: Cli, world: World) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" >&-', "-", sys.executable, "-m", "flightctl", "book", "F1", "--user", "u"],
        env=cli.env | world.backend.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert world.available("F1") == [8]


def test_a_full_disk_under_stdout_says_so(cli: Cli, world: World) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flightctl", "book", "F1", "--user", "u"],
            env=cli.env | world.backend.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["folder is a file", "folder cannot be written", "database is a folder"])
def test_a_place_that_cannot_be_written(cli: Cli, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "folder is a file":
        place.write_text("")
        env = {"XDG_DATA_HOME": str(place)}
    elif kind == "database is a folder":
        (place / "flightctl.db").mkdir(parents=True)
        env = {"FLIGHTCTL_DATABASE_URL": f"sqlite:///{place}/flightctl.db"}
    else:
        env = {"XDG_DATA_HOME": "/proc/1"}  # even root may not
    for args in (FIRST_USE, ("db", "upgrade", "-o", "json")):
        refused = cli(*args, env=env, check=7)
        assert refused.stdout == ""
        assert refused.error["code"] == "DATABASE_UNAVAILABLE"
        assert "FLIGHTCTL_DATABASE_URL" in refused.error["hint"] or "rights" in refused.error["hint"]
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "read only"
    folder.mkdir(mode=0o500)
    refused = cli(*FIRST_USE, env={"XDG_DATA_HOME": str(folder)}, check=7)
    assert str(folder) in refused.error["message"]


def test_a_file_that_is_no_database(cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("Dear Sir or Madam, " * 200)
    refused = cli(*FIRST_USE, env={"FLIGHTCTL_DATABASE_URL": f"sqlite:///{other}"}, check=2)
    assert refused.error["code"] == "CONFIG_ERROR"
    assert other.read_text() == "Dear Sir or Madam, " * 200


def test_a_newer_database_is_left_alone(cli: Cli, world: World) -> None:
    world.sql("UPDATE alembic_version SET version_num = '9999'")
    refused = cli(*FIRST_USE, env=world.backend.env, check=7)
    assert refused.error["code"] == "SCHEMA_MISMATCH"
    assert "newer" in refused.error["message"]
    assert cli("db", "upgrade", "-o", "json", env=world.backend.env, check=7).error["code"] == "SCHEMA_MISMATCH"
    assert world.one("SELECT version_num FROM alembic_version") == "9999"
