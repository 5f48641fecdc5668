"""`flightctl shell`: at a terminal of its own, and from a pipe."""

from __future__ import annotations

import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.builders import DAY, World
from tests.conftest import Backend, Cli
from tests.servers import MariaDB

from .terminal import Terminal

PROMPT = "flightctl> "


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    assert made.faults() == []
    made.close()


@pytest.fixture
def shell(cli: Cli) -> Callable[..., Terminal]:
    def start(env: dict[str, str], *options: str, **more: Any) -> Terminal:
        terminal = Terminal([sys.executable, "-m", "flightctl", *options, "shell"], cli.env | env, **more)
        terminal.wait_for(PROMPT)
        return terminal

    return start


def history(cli: Cli) -> Path:
    return Path(cli.env["XDG_STATE_HOME"]) / "flightctl" / "history"


def interrupted(terminal: Terminal) -> None:
    """Ctrl-C until the prompt is there anew, as a person presses it.

    CPython looks for a signal only when it cut short the wait for a key: one that comes while
    the key before is being handled is noticed at the next.
    """
    for _ in range(30):
        terminal.type("\x03")
        with suppress(AssertionError):
            terminal.wait_for(PROMPT, timeout=1)
            return
    raise AssertionError("no Ctrl-C ended the line")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_conversation(shell: Callable[..., Terminal], cli: Cli, world: World) -> None:
    with shell(world.backend.env) as terminal:
        terminal.type(f"flightctl search DEL BLR --date {DAY:%Y-%m-%d}\n")
        assert "CF_DEL_BLR_F1_F2" in terminal.wait_for(PROMPT)
        terminal.type("book F1 --user asha -q\n")
        booking = terminal.wait_for(PROMPT).splitlines()[-2].strip()
        terminal.type(f"confirm {booking} -o json\n")
        assert '"status": "CONFIRMED"' in terminal.wait_for(PROMPT)
        terminal.type("book NOPE --user asha\n")
        assert "error: there is no flight NOPE" in terminal.wait_for(PROMPT), "an error does not end it"
        terminal.type(f"release {booking}\n")
        terminal.wait_for(r"\[y/N\]: ")
        terminal.type("y\n")
        assert "CANCELLED" in terminal.wait_for(PROMPT)
        for line, answer in {
            "search 'DEL": "no closing quotation",
            "bookings list | head": "| is nothing",
            "daemon": "cannot be run within the shell",
            "shell": "cannot be run within the shell",
            "- ": "cannot be run within the shell",
            "bok": "Did you mean `flightctl book`?",
        }.items():
            terminal.type(f"{line}\n")
            assert answer in terminal.wait_for(PROMPT)
        terminal.type(" config show -q\n")  # a blank before it: not kept
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        assert terminal.end() == 0
    kept = history(cli).read_text().splitlines()
    assert kept[0].startswith("flightctl search DEL")
    assert f"release {booking}" in kept
    assert "y" not in kept
    assert not [line for line in kept if "config show" in line]
    assert stat.S_IMODE(history(cli).stat().st_mode) == 0o600


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_ctrl_c(shell: Callable[..., Terminal], world: World) -> None:
    """At the prompt it gives the line up, in a command it ends the command; the shell goes on."""
    with shell(world.backend.env) as terminal:
        terminal.type("book F1 --us")
        terminal.wait_for("--us")
        interrupted(terminal)
        terminal.type("bookings list -o json\n")
        terminal.wait_for('"totalElements": 0.*' + PROMPT)
        world.execute("BEGIN IMMEDIATE")  # the command waits for the file's lock
        try:
            terminal.type("book F1 --user asha --idempotency-key K1\n")
            terminal.wait_for("K1")
            with pytest.raises(AssertionError, match="did not come"):
                terminal.wait_for(PROMPT, timeout=1)
            terminal.type("\x03")
        finally:
            world.execute("ROLLBACK")
        told = terminal.wait_for(PROMPT)
        assert "error: aborted" in told or "booking id" in told, "the lock may have been quicker than the key"
        terminal.type("book F1 --user asha --idempotency-key K1 -o json\n")
        terminal.wait_for('"status": "PENDING".*' + PROMPT)
        terminal.type("exit\n")
        assert terminal.end() == 0
    assert world.one("SELECT COUNT(*) FROM bookings") == 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_tab_completes_and_arrow_up_recalls(shell: Callable[..., Terminal], cli: Cli, world: World) -> None:
    booking = world.booked()
    history(cli).parent.mkdir(parents=True)
    history(cli).write_text("config show -q\n")
    history(cli).chmod(0o644)
    with shell(world.backend.env) as terminal:
        terminal.type(f"bookings sh\t{booking[:3].lower()}\t-o js\t\n")
        shown = terminal.wait_for(PROMPT)
        assert f'"bookingId": "{booking}"' in shown
        terminal.type(f"search delhi\tBLR --date {DAY:%Y-%m-%d} --sort du\t--max-h\t2 -q\n")
        assert "CF_DEL_BLR_F1_F2" in terminal.wait_for(PROMPT)
        terminal.type("\x1b[A\x1b[A\x1b[A\n")
        assert "database.url" in terminal.wait_for(PROMPT)
        terminal.type("\x04")
        terminal.end()
    assert history(cli).read_text().splitlines()[1] == f"bookings show {booking} -o json "
    assert stat.S_IMODE(history(cli).stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept(shell: Callable[..., Terminal], cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with shell({"XDG_STATE_HOME": str(tmp_path / "file")}) as terminal:
        assert "warning: no history" in terminal.text
        terminal.type("config show -q\n")
        terminal.wait_for(PROMPT)
        terminal.type("\x04")
        assert terminal.end() == 0


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_lines_from_a_pipe(cli: Cli, world: World) -> None:
    env = world.backend.env
    done = cli("shell", "--actor", "night", input="# a day\nbook F1 --user asha -q\n\nbookings list -q\n", env=env)
    one, two = done.stdout.split()
    assert one == two
    assert world.one("SELECT actor FROM booking_events") == "night"
    failed = cli(
        "shell",
        input="bookings show X\nbook F1 --user 'u\nbook F1 --user u -q\nexit\nbook F1 --user u\n",
        env=env,
        check=3,
    )
    assert failed.stderr.count("error: ") == 2
    assert world.one("SELECT COUNT(*) FROM bookings") == 2
    as_json = cli("-o", "json", "shell", input="bookings show X\n'", env=env, check=3)
    assert as_json.stdout == ""
    assert as_json.error["code"] == "USAGE"


def test_a_server_that_comes_back(shell: Callable[..., Terminal], private_mariadb: MariaDB, cli: Cli) -> None:
    private_mariadb.create_database("warm")
    env = {"FLIGHTCTL_DATABASE_URL": private_mariadb.url("warm")}
    cli("db", "upgrade", env=env)
    with shell(env) as terminal:
        for server, answer in (
            (lambda: None, "bookings"),
            (private_mariadb.restart, "Nothing found"),
            (private_mariadb.kill, "error: the database"),
            (private_mariadb.start, "Nothing found"),
        ):
            server()
            terminal.type("bookings list\n")
            assert answer in terminal.wait_for(PROMPT)
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.end() == -signal.SIGHUP
