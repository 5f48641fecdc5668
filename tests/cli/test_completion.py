"""Completion: what it offers, in the real shells, quick whatever the database does, and never a word of trouble."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flightctl import completion_values
from flightctl.app import program
from flightctl.completion import Candidate, complete
from flightctl.completion_tree import along, tree_of, values_of
from tests.builders import World
from tests.conftest import Backend, Cli

from .terminal import Terminal
from .tree import commands

TREE = tree_of(program())


def find(kind: str, typed: str) -> list[Candidate]:
    return [Candidate(f"{typed}<{kind}>")]


def offered(*words: str) -> list[str]:
    before, current = words[:-1], words[-1]
    found = complete(TREE, before, current, find)
    assert found == complete(along(program(), before), before, current, find), "made in part, for want of the file"
    return [value for value, _ in found]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["bo"], ["book", "bookings"]),
        (["bookings", ""], ["show", "list", "history"]),
        (["bookings", "list", "--st"], ["--status"]),
        (["bookings", "list", "--status", "p"], ["PENDING"]),
        (["bookings", "list", "--status=CO"], ["--status=CONFIRMED"]),
        (["bookings", "list", "--status", "=", "CO"], ["CONFIRMED"]),  # as bash splits it
        (["bookings", "list", "--status", "="], ["PENDING", "CONFIRMED", "FAILED", "CANCELLED", "EXPIRED"]),
        (["-o", "json", "bookings", "li"], ["list"]),
        (["--output", ""], ["table", "json", "csv"]),
        (["search", "--sort", ""], ["price", "duration", "departure"]),
        (["search", "de"], ["de<airport>"]),
        (["search", "DEL", "--date", "tomorrow", "bl"], ["bl<airport>"]),
        (["search", "DEL", "BLR", ""], []),
        (["book", "6e"], ["6e<flight>"]),
        (["book", "--", "6e"], ["6e<flight>"]),
        (["confirm", ""], ["<booking>"]),
        (["payments", "refund", "pay-"], ["pay-<payment>"]),
        (["payments", "process", "--outcome", "s"], ["success"]),
        (["seed", "--file", "x"], [":files"]),
        (["seed", "--dataset", ""], ["demo", "india", "world"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["book", "F1", "--user", ""], []),
        (["nonsense", ""], []),
        (["book", "--nonsense", "x"], ["x<flight>"]),
    ],
)  # fmt: skip
def test_what_is_offered(words: list[str], values: list[str]) -> None:
    assert offered(*words) == values


def test_every_option_and_command_is_offered() -> None:
    for path, command in commands().items():
        words = path.split()
        assert words == ["-"] or words[-1] in offered(*words)
        names = {option for param in command.params if param.param_type_name == "option" for option in param.opts}
        assert names <= {"-y", *offered(*words, "--"), "-o"}, path


def test_values_that_are_listed_in_help_are_offered() -> None:
    """The help says what there is; nobody writes it down twice."""
    for path, command in commands().items():
        for param in command.params:
            if param.name in {"status", "sort", "outcome", "dataset"}:
                assert isinstance(values_of(param), list), f"{path} {param.name}"


# --- the program that the scripts call


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    made.close()


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_bookings_flights_and_airports(cli: Cli, world: World) -> None:
    booking = world.booked("F2", user="$(id)")
    env = world.backend.env
    [line] = cli("__complete", "zsh", "bookings", "show", booking[:2].lower(), env=env).stdout.splitlines()
    assert line.split("\t")[0] == booking
    assert "PENDING" in line
    assert cli("__complete", "bash", "confirm", "", env=env).stdout == f"{booking}\n"
    assert cli("__complete", "bash", "book", "f", env=env).stdout.split() == ["F1", "F2", "F3"]
    assert cli("__complete", "bash", "book", "", env=env).stdout.split()[0] == "F2", "booked a moment ago"
    assert cli("__complete", "bash", "payments", "show", "PAY-", env=env).stdout.startswith("pay-")
    assert cli("__complete", "bash", "search", "", env=env).stdout.split() == ["BLR", "BOM", "DEL"]
    assert cli("__complete", "bash", "search", "delhi", env=env).stdout == "DEL\n"
    assert cli("__complete", "bash", "search", "lond", env=env).stdout == "", "there are several"
    for typed in ("%", "'", "F1' OR 1=1 --", "✈", "_", "x" * 10_000, "\udcff"):
        answer = cli("__complete", "bash", "book", typed, env=env)
        assert (answer.stdout, answer.stderr) == ("", "")
    assert cli("__complete", env=env).stderr == ""
    assert cli("__complete", "zsh", env=env).stderr == ""


def test_silence_when_nothing_is_there(cli: Cli, tmp_path: Path, mysql_url: str) -> None:
    for url in (
        "mysql+pymysql://u:p@127.0.0.1:1/x", "mysql+pymysql://u:p@127.0.0.1:70000/x", "nonsense", mysql_url,
        f"sqlite:///{tmp_path}/none.db", "mysql+pymysql://u:p@host-that-is-not.invalid/x",
    ):  # fmt: skip
        answer = cli("__complete", "bash", "confirm", "", env={"FLIGHTCTL_DATABASE_URL": url})
        assert (answer.stdout, answer.stderr) == ("", "")
    assert not (tmp_path / "none.db").exists()
    for env in ({"FLIGHTCTL_CONFIG": "/nowhere.yaml"}, {"XDG_CACHE_HOME": "/proc/none"}, {"FLIGHTCTL_LOCKING": "?"}):
        assert cli("__complete", "bash", "confirm", "", env=env).stderr == ""
        assert cli("__complete", "bash", "confi", env=env).stdout.split() == ["confirm", "config"]


def _found(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """Bookings that are offered to somebody with time: this machine may be busy."""
    monkeypatch.setattr(completion_values, "DEADLINE", 2.0)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return [found.value for found in completion_values.Finder()("booking", "")]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_the_first_server_that_answers_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is down, and one that takes the call and says nothing; the password is in a file's first line."""
    booking = world.booked()
    url = world.backend.database_url
    place = re.search(r"@([^/]+)/", url)
    assert place is not None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        frozen = f"127.0.0.1:{silent.getsockname()[1]}"
        several = url.replace(place[1], f"127.0.0.1:1,{frozen},{place[1]}")
        assert _found(monkeypatch, FLIGHTCTL_DATABASE_URL=several) == [booking]
        assert _found(monkeypatch, FLIGHTCTL_DATABASE_URL=url.replace(place[1], f"127.0.0.1:1,{frozen}")) == []


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_the_database_is_reached_by_its_rules(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password from a file; and never in the clear where TLS was asked for."""
    booking = world.booked()
    url = world.backend.database_url
    password = re.search(r"//([^:]+):([^@]+)@", url)
    assert password is not None
    (tmp_path / "secret").write_text(f"{password[2]}\n")
    bare = url.replace(f":{password[2]}@", "@")
    given = {"FLIGHTCTL_DATABASE_URL": bare, "FLIGHTCTL_DATABASE_PASSWORD_FILE": str(tmp_path / "secret")}
    assert _found(monkeypatch, **given) == [booking]
    if world.one("SELECT @@have_ssl") != "YES":
        assert _found(monkeypatch, FLIGHTCTL_DATABASE_TLS="unverified") == []


def test_a_database_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, ended = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        answered.wait(60)
        ended.set()

    monkeypatch.setattr(completion_values, "_fetch", hang)
    assert completion_values.Finder()("booking", "") == []
    assert not ended.is_set()
    answered.set()


def test_it_loads_nothing_heavy(cli: Cli, tmp_path: Path) -> None:
    """Once the commands are on file: what a key press waits for."""
    cli("__complete", "bash", "bo")
    folder = Path(cli.env["XDG_CACHE_HOME"]) / "flightctl"
    _until(lambda: list(folder.glob("*.json")))
    program = (
        "import sys, os\nsys.argv = ['flightctl', '__complete', 'bash', 'confirm', '']\n"
        "os._exit = lambda _: print('loaded:', *sys.modules)\nfrom flightctl.__main__ import main\n"
        "from flightctl import completion\ncompletion.main(sys.argv[2:])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=cli.env)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "flightctl.completion_tree" in loaded
    assert not loaded & {"typer", "click", "sqlalchemy", "redis", "rich", "yaml", "flightctl.app", "flightctl.cli"}


def test_commands_on_file_are_those_there_are(cli: Cli) -> None:
    cli("completion", "bash")
    folder = Path(cli.env["XDG_CACHE_HOME"]) / "flightctl"
    [file] = _until(lambda: list(folder.glob("*.json")))
    assert json.loads(file.read_text()) == json.loads(json.dumps(TREE))
    file.write_text("{")  # damaged: made anew in memory
    assert cli("__complete", "bash", "confi").stdout.split() == ["confirm", "config"]


def _until(look: Any) -> Any:
    import time

    for _ in range(300):
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


# --- the shells


def test_an_unknown_shell(cli: Cli) -> None:
    assert "bash, zsh, fish" in cli("completion", "tcsh", check=2).stderr
    assert cli("completion", check=2).stdout == ""


@pytest.fixture
def path(cli: Cli, tmp_path: Path) -> dict[str, str]:
    """An environment where `flightctl` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "flightctl"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m flightctl \"$@\"\n")
    script.chmod(0o755)
    return cli.env | {"PATH": f"{folder}:{os.environ['PATH']}"}


def installed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("shell", "start", "load"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], "source <(flightctl completion bash)"),
        ("zsh", ["-f", "-i"], "autoload -Uz compinit && compinit -D -u; source <(flightctl completion zsh)"),
        ("fish", ["--no-config", "-i"], "flightctl completion fish | source"),
    ],
)
def test_in_the_real_shell(
    shell: str, start: list[str], load: str, path: dict[str, str], world: World, tmp_path: Path
) -> None:
    """Keys typed into it, and what it makes of them."""
    booking = world.booked()
    (tmp_path / "plan.csv").touch()
    with Terminal([installed(shell), *start], path | world.backend.env, cwd=tmp_path) as terminal:
        terminal.type(f"{load}; echo rea''dy\n")
        terminal.wait_for("ready")
        for keys, meant in (
            (f"bookings sh\t{booking[:4].lower()}\t", f"bookings show {booking}"),
            ("search delhi\tBLR --date tod\t", "search DEL BLR --date today" if shell != "fish" else "--date today"),
            ("bookings list --status CANC\t", "bookings list --status CANCELLED"),
            ("seed --file pla\t", "seed --file plan.csv"),
            ("payments process --outco\ttime\t", "payments process --outcome timeout"),
        ):
            terminal.type(f"flightctl {keys}")
            terminal.type("\x01echo '\x05' >> typed; echo do''ne\n")  # Ctrl-A and Ctrl-E: round what stands there now
            terminal.wait_for("done")
            assert meant in (tmp_path / "typed").read_text().splitlines()[-1]
        terminal.type("\x04")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_bash_without_a_terminal(path: dict[str, str], world: World) -> None:
    booking = world.booked()
    program = (
        "source <(flightctl completion bash)\n"
        f"COMP_WORDS=(flightctl confirm {booking[0]}) COMP_CWORD=2\n"
        '_flightctl flightctl; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [installed("bash"), "-c", program], check=True, capture_output=True, text=True, env=path | world.backend.env
    )
    assert (done.stdout, done.stderr) == (f"{booking}\n", "")
