"""Contexts and production, as users meet them: on a terminal, in pipes, in the shell and in batches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flightctl import production
from flightctl.app import program, run
from flightctl.completion import Candidate, complete
from flightctl.completion_tree import tree_of
from flightctl.completion_values import Finder
from tests.conftest import Cli

from .terminal import Terminal
from .tree import commands

BANNER = "PRODUCTION  context prod"
RED = f"\x1b[{production.REVERSED_RED}m"


@pytest.fixture
def file(cli: Cli, migrated_sqlite_url: str) -> Path:
    """A context of production, and one of staging whose database is made on first use."""
    path = Path(cli.env["XDG_CONFIG_HOME"]) / "flightctl" / "contexts.yaml"
    path.parent.mkdir(parents=True)
    contexts = {
        "prod": {"environment": "production", "database.url": migrated_sqlite_url},
        "staging": {"environment": "staging", "database.url": migrated_sqlite_url.replace("flightctl.db", "other.db")},
    }
    path.write_text(json.dumps({"current": "staging", "contexts": contexts}))
    return path


@pytest.fixture
def terminal(cli: Cli, file: Path) -> Callable[..., Terminal]:
    def start(*words: str, **env: str) -> Terminal:
        return Terminal([sys.executable, "-m", "flightctl", *words], cli.env | env)

    return start


@pytest.mark.parametrize(
    ("words", "env", "shown"),
    [
        (["sweep"], {}, True),
        (["release", "K7QX2M", "--yes"], {}, True),
        (["flights", "update", "F1", "--price", "1", "-o", "csv"], {}, True),
        (["sweep"], {"NO_COLOR": "1"}, True),
        (["sweep", "--no-color"], {}, True),
        (["sweep"], {"TERM": "dumb"}, True),
        (["sweep", "-o", "json"], {}, False),
        (["sweep", "-q"], {}, False),
        (["sweep", "--dry-run"], {}, False),
        (["bookings", "list"], {}, False),
        (["sweep"], {"FLIGHTCTL_CONTEXT": "staging"}, False),
    ],
)
def test_the_banner_on_a_terminal(
    terminal: Callable[..., Terminal], words: list[str], env: dict[str, str], shown: bool
) -> None:
    with terminal(*words, **{"FLIGHTCTL_CONTEXT": "prod", **env}) as screen:
        screen.end()
    assert screen.text.count(BANNER) == shown
    colored = shown and not env and "--no-color" not in words
    assert (RED in screen.raw) == colored


def test_no_banner_in_pipes(cli: Cli, file: Path) -> None:
    result = cli("sweep", "--context", "prod")
    assert result.stderr == ""
    assert "PRODUCTION" not in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["seed"],
        ["seed", "--reset"],
        ["seed", "--reset", "--yes"],
        ["payments", "trigger", "K7QX2M", "--outcome", "success"],
        ["payments", "sign", "K7QX2M", "--status", "SUCCESS"],
        ["payments", "process", "--outcome", "failure"],
        *(path.split() for path in sorted(commands()) if path.startswith("bench ")),
    ],
    ids=" ".join,
)
def test_what_production_is_spared(file: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--context", "prod", "-o", "json"]) == 4
    out, err = capsys.readouterr()
    error = json.loads(err)["error"]
    assert (out, error["code"]) == ("", "ENVIRONMENT_PROTECTED")
    assert error["details"]["context"] == "prod"


def test_what_an_operator_does_in_production_is_asked_for(
    terminal: Callable[..., Terminal], cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the question comes after the banner."""
    times = ("--departure", "2030-12-01T06:10", "--arrival", "2030-12-01T08:55")
    added = ["flights", "add", "ZZ1", "--source", "DEL", "--destination", "BLR", *times, "--price", "1", "-q"]
    assert run([*added, "--context", "prod"]) == 0
    flight = capsys.readouterr().out.strip()
    assert "--yes" in cli("flights", "cancel", flight, "--context", "prod", check=2).stderr
    with terminal("flights", "cancel", flight, "--context", "prod") as screen:
        assert screen.wait_for(f"{flight}[^\n]*: ").count(BANNER) == 1
        screen.type("no\n")
        assert screen.end() == 130


def test_the_shell_and_its_prompt(terminal: Callable[..., Terminal]) -> None:
    with terminal("shell") as screen:
        screen.wait_for("flightctl staging> ")
        screen.type("sweep --context prod\n")
        assert BANNER in screen.wait_for("flightctl staging> ")
        screen.type("config use prod -q\n")
        screen.wait_for("flightctl prod> ")
        screen.type("seed\n")
        assert "this environment is production" in screen.wait_for("flightctl prod> ")
        screen.type("sweep --context nosuch\n")
        assert "no context 'nosuch'" in screen.wait_for("flightctl prod> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_a_batch(cli: Cli, file: Path) -> None:
    requests = [
        {"command": "seed", "args": ["--days", "1"]},
        {"command": "seed", "args": ["--context", "staging", "--days", "1"]},
        {"command": "sweep"},
        {"command": "sweep", "args": ["--context", "nosuch"]},
    ]
    text = "".join(json.dumps(request) + "\n" for request in requests)
    result = cli("-", "--context", "prod", input=text, check=4)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["exit"] for answer in answers] == [4, 0, 0, 2]
    assert answers[3]["error"]["code"] == "CONFIG_ERROR"
    assert result.stderr == ""


def test_a_variable_that_wins_is_told_of(cli: Cli, file: Path, terminal: Callable[..., Terminal]) -> None:
    text = "FLIGHTCTL_BOOKING_HOLD wins over context staging"
    file.write_text(file.read_text().replace('"staging", "d', '"staging", "booking.hold": "7m", "d'))
    env = {"FLIGHTCTL_BOOKING_HOLD": "9m"}
    assert text in cli("sweep", env=env | {"FLIGHTCTL_CONTEXT": "staging"}).stderr
    assert cli("sweep", env=env).stderr == "", "nobody reads cron's mail about somebody's current context"
    with terminal("sweep", **env) as screen:
        screen.end()
    assert text in screen.text


def test_completion_of_names(file: Path) -> None:
    tree = tree_of(program())
    for words in (["--context"], ["config", "use"], ["bookings", "list", "--context"]):
        assert complete(tree, words, "p", Finder(words)) == [Candidate("prod", "production")]


def test_every_reading_command_is_one() -> None:
    assert set(commands()) >= production.READING
