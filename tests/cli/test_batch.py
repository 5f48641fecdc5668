"""`flightctl -`: JSON lines in, JSON lines out, one warm process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import DAY, World
from tests.conftest import Backend, Cli
from tests.servers import MariaDB, Redis

SEARCH = {"command": "search", "args": ["DEL", "BLR", "--date", f"{DAY:%Y-%m-%d}"]}


def lines(*requests: Any) -> str:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in requests)


def answers(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


class Talk:
    """One batch that is still running: ask, and get the answer before the next question."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, command: str, *args: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"command": command, "args": args}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert sum("not usable" in warning for warning in answer["warnings"]) <= 1, "one warning a command"
        return answer


@pytest.fixture
def talk(cli: Cli) -> Callable[..., Talk]:
    return lambda env: Talk(cli.start("-", env=env, stdin=subprocess.PIPE))


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    assert made.faults() == []
    made.close()


def test_a_day_of_an_agent(cli: Cli, world: World) -> None:
    env = world.backend.env
    booked = cli("-", input=lines({"id": "b", "argv": ["book", "F1", "--user", "asha", "--seats", 2]}), env=env)
    [answer] = answers(booked.stdout)
    assert (answer["id"], answer["exit"], answer["result"]["noOfSeats"]) == ("b", 0, 2)
    booking = answer["result"]["bookingId"]
    result = cli(
        "-",
        "--actor",
        "night shift",
        input=lines(
            {"command": "confirm", "args": [booking], "id": 7},
            {"command": "bookings show", "args": [booking.lower()], "id": {"any": ["json"]}},
            {"command": "bookings history", "args": [booking, "-o", "csv"]},
            {"command": "bookings", "args": ["list", "-q"]},
            {"command": "release", "args": [booking]},
            {"command": "release", "args": [booking, "--yes", "--actor", "asha"]},
        ),
        env=env | {"FLIGHTCTL_OUTPUT": "csv"},
        check=2,
    )
    confirmed, shown, history, listed, asked, released = answers(result.stdout)
    assert (confirmed["id"], confirmed["result"]["status"]) == (7, "CONFIRMED")
    assert (shown["id"], shown["result"]["bookingId"]) == ({"any": ["json"]}, booking)
    assert history["result"].startswith("bookingId,at,actor")
    assert "night shift" in history["result"]
    assert listed["result"] == f"{booking}\n"
    assert (asked["exit"], asked["error"]["code"]) == (2, "VALIDATION_ERROR"), "nobody to ask"
    assert released["result"]["status"] == "CANCELLED"
    assert world.available("F1") == [9]
    assert result.stderr == ""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_bad_lines_are_answered_and_the_batch_goes_on(cli: Cli, world: World) -> None:
    bad = [
        "nonsense", "[]", "null", '"book"', "3", "{}", '{"command": 1}', '{"command": " "}', '{"id": NaN}',
        '{"command": "book", "argv": ["book"]}', '{"argv": "book"}', '{"argv": [true]}', '{"argv": [1.5]}',
        '{"argv": [null]}', '{"command": "book", "arguments": []}', "[" * 100_000, '{"argv": ["' + "x" * 2_000_000 + '"]}',
    ]  # fmt: skip
    result = cli("-", input=lines(*bad, "", "  ", {**SEARCH, "id": "last"}), env=world.backend.env, check=2)
    *refused, last = answers(result.stdout)
    assert [(answer["exit"], answer["error"]["code"]) for answer in refused] == [(2, "VALIDATION_ERROR")] * len(bad)
    assert [answer["error"]["details"]["line"] for answer in refused] == list(range(1, len(bad) + 1))
    assert all("result" not in answer and answer["warnings"] == [] for answer in refused)
    assert (last["id"], last["exit"], last["result"]["totalElements"]) == ("last", 0, 1)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_commands_answer(cli: Cli, world: World) -> None:
    """Every kind of failure keeps its status; a batch ends with that of the first."""
    result = cli(
        "-",
        input=lines(
            {"argv": ["--version"]}, {"argv": ["book", "--help"]}, {"argv": []}, {"argv": ["bok"]},
            {"argv": ["daemon"]}, {"argv": ["-"]}, {"argv": ["shell"]}, {"argv": ["search", "DEL"]},
            {"argv": ["bookings", "show", "AAAAAA"], "id": "\ud800"},
            {"argv": ["book", "F1", "--user", "u", "--idempotency-key", "K"]},
            {"argv": ["book", "F1", "--user", "v", "--idempotency-key", "K"]},
            {"argv": ["config", "show", "-o", "xml"]},
        ),
        env=world.backend.env, check=2,
    )  # fmt: skip
    given = answers(result.stdout)
    assert [answer["exit"] for answer in given] == [0, 0, 0, 2, 2, 2, 2, 2, 3, 0, 10, 2]
    assert given[0]["result"].startswith("flightctl ")
    assert given[1]["result"].startswith("Examples:")
    assert given[8]["id"] == "\ud800"
    assert given[10]["error"]["details"]["idempotencyKey"] == "K"
    assert cli("-", "-o", "csv", input="", check=2).stdout == ""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_last_line_without_its_end_and_a_byte_order_mark(cli: Cli, world: World) -> None:
    result = cli("-", input="\ufeff" + json.dumps(SEARCH), env=world.backend.env)
    assert answers(result.stdout)[0]["result"]["totalElements"] == 1
    assert cli("-", input="").stdout == ""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nobody_takes_the_answers(cli: Cli, world: World) -> None:
    """What is asked after that is not done: its sender would never know."""
    process = cli.start("-", env=world.backend.env, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    asked = lines(*[{"argv": ["book", "F1", "--user", "u"]}] * 5)
    process.stdin.write(asked)
    process.stdin.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr is not None
    assert "cannot be written" in process.stderr.read()
    assert world.one("SELECT COUNT(*) FROM bookings") == 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.skipif(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="run in the background of a shell")
def test_interrupted_while_it_waits(talk: Callable[..., Talk], world: World) -> None:
    ask = talk(world.backend.env)
    assert ask("bookings list")["exit"] == 0
    ask.process.send_signal(signal.SIGINT)
    assert ask.process.wait(timeout=60) == 130


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_file_that_another_took_the_place_of(talk: Callable[..., Talk], world: World, tmp_path: Path) -> None:
    """A restored backup: a connection that stayed open would book into a file that no longer has a name."""
    file = Path(world.backend.database_url.removeprefix("sqlite:///"))
    with_one = ["SELECT COUNT(*) FROM bookings"]
    ask = talk(world.backend.env)
    assert ask("book", "F1", "--user", "u")["exit"] == 0
    ask.process.send_signal(signal.SIGSTOP)
    try:
        world.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(file, tmp_path / "backup")
        for end in ("-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)
        os.replace(tmp_path / "backup", file)
    finally:
        ask.process.send_signal(signal.SIGCONT)
    assert ask("book", "F1", "--user", "v")["exit"] == 0
    assert world.backend.value(*with_one) == 2
    assert ask("bookings list")["result"]["totalElements"] == 2


def test_servers_that_go_away_and_come_back(
    talk: Callable[..., Talk], private_mariadb: MariaDB, private_redis: Redis, cli: Cli
) -> None:
    private_mariadb.create_database("warm")
    env = {"FLIGHTCTL_DATABASE_URL": private_mariadb.url("warm"), "FLIGHTCTL_REDIS_URL": private_redis.url}
    cli("db", "upgrade", env=env)
    cli("seed", "--days", "3", env=env)
    ask = talk(env | {"FLIGHTCTL_REDIS_PAUSE": "1s"})
    search = ("search", "DEL", "BLR", "--date", "tomorrow", "--size", "1")
    found = ask(*search)
    flight = found["result"]["content"][0]["legs"][0]["flightId"]
    assert ask("book", flight, "--user", "u")["exit"] == 0

    private_redis.kill()
    for _ in range(2):  # each command has a user of its own to be told
        started = time.monotonic()
        answer = ask(*search)
        assert time.monotonic() - started < 5
        assert answer["exit"] == 0
        assert "Redis is not usable" in answer["warnings"][0]
    private_redis.start()
    time.sleep(1.1)  # redis.pause
    assert "Redis is back" in ask(*search)["warnings"]
    private_redis.restart()
    told = ask(*search)["warnings"]
    assert not [warning for warning in told if "no connection" in warning], "one that died while idle is no outage"

    private_mariadb.restart()
    booked = ask("book", flight, "--user", "v", "--idempotency-key", "after the restart")
    assert (booked["exit"], booked["result"]["replayed"]) == (0, False)
    private_mariadb.kill()
    down = ask("book", flight, "--user", "w", "--idempotency-key", "meanwhile")
    assert (down["exit"], down["error"]["code"]) == (7, "DATABASE_UNAVAILABLE"), "known to be down, not unknown"
    assert ask("bookings list")["exit"] == 7
    private_mariadb.start()
    assert ask("book", flight, "--user", "w", "--idempotency-key", "meanwhile")["result"]["replayed"] is False
    assert ask("audit")["exit"] == 0


@pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
def test_one_process_keeps_its_connections(talk: Callable[..., Talk], world: World) -> None:
    ask = talk(world.backend.env)
    ask("bookings list")
    ask(SEARCH["command"], *SEARCH["args"])
    before = (world.one("SELECT COUNT(*) FROM information_schema.processlist"), world.redis.info()["connected_clients"])
    made = int(world.sql("SHOW STATUS LIKE 'Connections'")[0][1])
    for _ in range(5):
        ask("bookings list")
        ask(SEARCH["command"], *SEARCH["args"])
    assert (
        world.one("SELECT COUNT(*) FROM information_schema.processlist"),
        world.redis.info()["connected_clients"],
    ) == before
    assert int(world.sql("SHOW STATUS LIKE 'Connections'")[0][1]) == made


def test_settings_of_one_request_are_not_those_of_the_next(cli: Cli, tmp_path: Path) -> None:
    """Each set of settings has a runtime of its own."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"database: {{url: 'sqlite:///{tmp_path}/{name}.db'}}\n")
    result = cli(
        "-",
        "--config",
        tmp_path / "one.yaml",
        input=lines(
            {"argv": ["db", "current"]},
            {"argv": ["db", "current", "--config", str(tmp_path / "two.yaml")]},
            {"argv": ["config", "show", "-o", "csv"]},
            {"argv": ["db", "current", "--config", str(tmp_path / "none.yaml")]},
        ),
        check=2,
    )
    one, two, shown, none = answers(result.stdout)
    assert (one["exit"], two["exit"], none["exit"]) == (0, 0, 2)
    assert f"{tmp_path}/one.db" in shown["result"]
