"""The README tells the truth: its commands parse, its tour runs, its keys, settings and errors are the program's."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
from typer.main import get_group

from flightctl.app import app, run
from flightctl.core import errors
from flightctl.core.settings import SETTINGS
from flightctl.session import Session

from .tree import commands

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = commands()
EVERYWHERE = {"--output", "--quiet", "--no-color", "--no-pager", "--utc", "--config", "--context", "--actor", "--help"}


def sections() -> dict[str, str]:
    """The command reference: the text below each command's heading."""
    reference = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (.+)$", reference, flags=re.MULTILINE)[1:]
    found = {}
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        found[" ".join(word for word in heading.split() if word.islower() or word == "-")] = text
    return found


SECTIONS = sections()


def console_lines(tour_only: bool = False) -> list[str]:
    """What stands behind the prompts; the tour's blocks are those marked with a comment."""
    marker = "<!-- tour -->\n" if tour_only else ""
    blocks = re.findall(marker + r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def calls(line: str) -> Iterator[list[str]]:
    """The words behind each `flightctl` of a shell line."""
    for part in re.split(r"\$\(|\)|\||;|>|<", line):
        words = shlex.split(part)
        if words and words[0] == "flightctl":
            yield words[1:]


# --- commands


def test_every_command_has_its_section() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_option_is_explained(path: str) -> None:
    section = SECTIONS.get(path, "")
    params = COMMANDS[path].params
    there = {option for param in params if param.param_type_name == "option" for option in param.opts}
    told = set(re.findall(r"`(--?[a-z][a-z-]*)", section))
    common = {option for option in there if not option.startswith("--")} | EVERYWHERE
    assert there - common <= told, "an option is missing"
    assert told <= there, "there is no such option"
    arguments = [param.metavar for param in params if param.param_type_name == "argument"]
    heading = re.search(rf"^### {path}((?: [A-Z]+)*)$", README, flags=re.MULTILINE)
    assert heading
    assert heading[1].split() == arguments


def test_options_of_every_command_are_explained() -> None:
    introduction = README.partition("\n## Commands\n")[2].partition("\n### ")[0]
    for option in EVERYWHERE | {"--version"}:
        assert f"`{option}" in introduction or f"flightctl {option}" in introduction, option


@pytest.mark.parametrize("line", sorted(set(console_lines())))
def test_commands_parse(line: str) -> None:
    for words in calls(line):
        group = words[0] not in COMMANDS
        path, arguments = " ".join(words[: 1 + group]), words[1 + group :]
        with get_group(app).make_context("flightctl", ["x"], obj=Session()) as root:
            COMMANDS[path].make_context(path, arguments, parent=root)


def test_the_tour_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """In order, on a fresh embedded database, as a shell would run it; nothing of it fails."""
    variables: dict[str, str] = {}
    printed = ""
    for line in console_lines(tour_only=True):
        assigned = re.fullmatch(r"(\w+)=\$\((.+)\)", line)
        command, _, pipe = (assigned[2] if assigned else line).partition(" | ")
        words = [Template(word).substitute(variables) for word in shlex.split(command)]
        if words[0] != "flightctl":
            subprocess.run(words, check=True)
            continue
        status = run(words[1:])
        out, err = capsys.readouterr()
        assert status == 0, f"{line}\n{err}"
        if pipe:
            shell = ["bash", "-o", "pipefail", "-c", pipe]
            out = subprocess.run(shell, check=True, input=out, capture_output=True, encoding="utf-8").stdout
        if assigned:
            variables[assigned[1]] = out.strip()
            assert re.fullmatch(r"\S+", variables[assigned[1]]), line
        printed += out
    assert set(variables) == {"flight", "booking", "trip"}
    assert "REFUNDED" in printed


# --- the keys of -o json

_TOKEN = re.compile(r"\w+|[\[\]{},:]")


def parse_shape(text: str) -> Any:
    """``{name, name: {…}, name: [{…}]}`` as nested dicts; a plain name stands for a scalar or a list of them."""
    tokens = iter(_TOKEN.findall(text))

    def value(token: str) -> Any:
        if token == "[":
            inner = value(next(tokens))
            assert next(tokens) == "]"
            return [inner]
        assert token == "{", token
        fields: dict[str, Any] = {}
        name = ""
        for token in tokens:
            if token == "}":
                return fields
            if token == ":":
                fields[name] = value(next(tokens))
            elif token != ",":
                name, fields[token] = token, None
        raise AssertionError(f"no end: {text}")

    return value(next(tokens))


def shape_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape_of(field) for name, field in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape_of(value[0])]
    return None


def told_shapes(path: str) -> list[Any]:
    return [parse_shape(block) for block in re.findall(r"```text\n(\{.*?)```", SECTIONS[path], flags=re.DOTALL)]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command in this process; its JSON."""

    def call(*arguments: str, code: int = 0) -> Any:
        status = run([*arguments, "-o", "json"])
        out, err = capsys.readouterr()
        assert status == code, err
        return json.loads(out)

    return call


def test_json_keys_are_those_printed(printed: Callable[..., Any], tmp_path: Path) -> None:
    shapes: dict[str, list[Any]] = {}

    def take(path: str, *arguments: str, code: int = 0) -> Any:
        document = printed(*path.split(), *arguments, code=code)
        shapes.setdefault(path, []).append(shape_of(document))
        return document

    take("seed", "--days", "3")
    flight = take("search", "DEL", "BLR", "--date", "tomorrow", "--max-hops", "1")["content"][0]["flightIdentifier"]
    take("search", "DEL", "BLR", "--date", "tomorrow", "--flex", "1")
    trips = printed("search", "DEL", "GOI", "--date", "tomorrow", "--size", "100")["content"]
    trip = next(found["flightIdentifier"] for found in trips if found["type"] == "COMPUTED")
    booked = take("book", flight, "--user", "asha")
    booking, payment = booked["bookingId"], booked["paymentId"]
    take("holds list")
    take("top")
    take("wait", booking, "--for", "ended", "--timeout", "0s", code=8)
    take("holds extend", booking, "--by", "24h")
    take("holds extend", "--all", "--by", "10m")
    take("payments process")
    take("payments callback", booking, "--status", "SUCCESS")
    take("payments trigger", booking, "--outcome", "success", "--duplicate", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTCTL_GATEWAY_SECRET", "secret")
        take("payments sign", booking, "--status", "SUCCESS")
    printed("payments", "callback", booking, "--status", "SUCCESS", "--payment", "bank-1", "--amount", "1")
    take("payments late")
    take("confirm", booking)
    take("release", printed("book", flight, "--user", "bela")["bookingId"])
    take("release", booking, "--quote")
    printed("release", booking, "--yes")
    take("payments refund", payment)
    take("payments show", payment)
    take("payments list")
    take("bookings show", booking)
    take("bookings list")
    take("bookings history", booking)
    take("flights show", flight)
    take("flights show", trip)
    take("flights seats", flight)
    take("flights sales", flight)
    take("manifest", flight, "--all")
    take("flights list")
    times = ("--departure", "2030-12-01T06:10", "--arrival", "2030-12-01T08:55")
    added = take("flights add", "ZZ1", "--source", "DEL", "--destination", "BLR", *times, "--price", "1")["flightId"]
    take("flights update", added, "--price", "2")
    columns = re.findall(r"```csv\n(.*?)\n", README)[0]
    file = tmp_path / "schedule.csv"
    file.write_text(f"{columns}\nZZ,1,DEL,BLR,06:10,08:55,0,7,2030-12-01,2030-12-01,180,3\nbad\n")
    take("schedule import", str(file), "--dry-run")
    take("schedule export", "--carrier", "ZZ")
    take("routes pack")
    printed("confirm", printed("book", added, "--user", "bela")["bookingId"])
    plan = str(Path(os.environ["HOME"]) / "plan.json")
    take("flights cancel", added, "--plan", plan, "--yes")
    audited = printed("audit")
    take("reaccommodate", plan, "--dry-run")
    take("sweep")
    take("doctor")
    take("db upgrade")
    take("db current")
    take("db archive", "--before", "today")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTCTL_DATABASE_URL", "mysql+pymysql://ops@db.example/flightctl")
        take("db grants", "--role", "agent")
    take("config show")
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "flightctl" / "contexts.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("contexts: {staging: {environment: staging}}\n")
    take("config contexts")
    take("config use", "staging")
    for topic in ("exit-codes", "errors", "formats"):
        take("help", topic)
    _spoil_a_count(flight)
    take("audit", code=9)
    shapes["audit"][0]["disrupted"] = shape_of(audited["disrupted"])

    untold = {"daemon", "-", "shell", "completion"}  # no data of their own
    redis = {"routes precompute"}  # the next test
    benches = {path for path in COMMANDS if path.startswith("bench ")}  # test_bench.py
    assert set(shapes) == set(COMMANDS) - untold - redis - benches
    assert {path: told_shapes(path) for path in shapes} == shapes


def _spoil_a_count(flight_id: str) -> None:
    """So that the audit has something to print."""
    import sqlite3

    from flightctl.core.settings import default_database_path

    with sqlite3.connect(default_database_path()) as connection:
        connection.execute("UPDATE flights SET available_seats = 1 WHERE flight_id = ?", (flight_id,))
    connection.close()


def test_json_keys_of_precomputed_routes(
    printed: Callable[..., Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTCTL_REDIS_URL", redis_url)
    printed("seed", "--days", "1")
    document = printed("routes", "precompute", "--top", "1")
    assert told_shapes("routes precompute") == [shape_of(document)]


# --- settings and errors


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of a chapter's first table by their first cell, backquotes taken off."""
    chapter = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in chapter.splitlines() if line[:1] == "|"
    ]
    return {row[0].strip("| `"): [cell.strip("|` ") for cell in row[1:]] for row in cells[2:]}


def test_every_setting_is_told_with_its_variable_and_default() -> None:
    import yaml

    defaults = yaml.safe_load((ROOT / "config" / "default.yaml").read_text(encoding="utf-8"))
    flat = {
        f"{name}.{inner}": value
        for name, group in defaults.items()
        if isinstance(group, dict)
        for inner, value in group.items()
    }
    flat |= {name: value for name, value in defaults.items() if not isinstance(value, dict)}
    told = {key: row[:2] for key, row in rows("Configuration").items()}
    expected = {
        setting.key: [setting.variable, "empty" if flat[setting.key] == "" else str(flat[setting.key])]
        for setting in SETTINGS
    }
    assert told == expected


def test_every_error_is_told_with_its_exit_status() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FlightctlError) and kind is not errors.FlightctlError
    ]
    expected = {kind.code: [str(kind.exit_status), "yes" if kind.retryable else "no"] for kind in kinds}
    assert {code: row[:2] for code, row in rows("Errors").items()} == expected


def test_links_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in headings()}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target


def headings() -> list[str]:
    return [line.lstrip("# ") for line in README.splitlines() if re.match(r"#{1,3} ", line)]


def test_the_schedule_file_of_the_example_is_good(printed: Callable[..., Any], tmp_path: Path) -> None:
    example = re.findall(r"```csv\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "schedule.csv").write_text(example[0], encoding="utf-8")
    result = printed("seed", "--file", str(tmp_path / "schedule.csv"), "--start", "2026-12-01", "--days", "7")
    assert (result["flights"], result["skipped"]) == (5 + 7, 0)
    assert printed("flights", "show", "6E203-20261201")["totalSeats"] == 186


def test_the_cron_line_is_the_one_that_ships() -> None:
    [line] = re.findall(r"```cron\n(.*?)\n```", README, flags=re.DOTALL)
    assert line in (ROOT / "config" / "flightctl.cron").read_text(encoding="utf-8").splitlines()
