"""Every command exists, and its help starts with examples that the command itself would take."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from flightctl.app import app
from flightctl.cli import split_help
from flightctl.session import Session

from .tree import EXPECTED, GROUPS, commands

COMMANDS = commands()


def help_of(*path: str) -> str:
    result = CliRunner().invoke(app, [*path, "--help"], obj=Session(), prog_name="flightctl")
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_are_those_of_the_specification() -> None:
    assert set(COMMANDS) == EXPECTED


@pytest.mark.parametrize("path", ["", *sorted(EXPECTED | GROUPS)])
def test_help_starts_with_examples(path: str) -> None:
    lines = help_of(*path.split()).splitlines()
    assert lines[0] == "Examples:"
    examples = lines[1 : lines.index("")]
    assert examples
    assert all(line.startswith("  ") for line in examples)
    assert f"flightctl {path}".rstrip() in examples[0]
    assert any(line.startswith("Usage: flightctl") for line in lines)


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_every_command_takes_the_common_options_and_tells_its_exit_codes(path: str) -> None:
    text = help_of(*path.split())
    for option in (
        "-o, --output table|json|csv",
        "-q, --quiet",
        "--no-color",
        "--no-pager",
        "--utc",
        "--config FILE",
        "--context NAME",
        "--actor NAME",
    ):
        assert option in text
    assert "Exit codes:\n  0 " in text


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_options_are_explained(path: str) -> None:
    for param in COMMANDS[path].params:
        assert param.help, f"{path}: {param.name} has no help"


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_examples_parse(path: str) -> None:
    """An example with an option that does not exist is worse than none."""
    examples, _ = split_help(COMMANDS[path].help)
    for line in examples.replace("\\\n", " ").splitlines()[1:]:
        words = shlex.split(line.split(" | ")[0].split(" > ")[0].split(" < ")[0].split(" (in a ")[0])
        words = words[words.index("flightctl") + 1 :]
        assert words[: len(path.split())] == path.split()
        _parse(COMMANDS[path], words[len(path.split()) :])


def _parse(command: Any, arguments: list[str]) -> None:
    with get_group(app).make_context("flightctl", ["x"], obj=Session()) as root:
        command.make_context(command.name, arguments, parent=root)


def test_lines_of_the_overview_are_those_of_the_commands() -> None:
    root: Any = get_group(app)
    for name, line in root.table.items():
        found = root.get_command(None, name)
        assert found.get_short_help_str() == line, name


def test_a_group_alone_shows_its_help_and_fails(cli: Any) -> None:
    result = cli("bookings", check=2)
    assert "flightctl bookings show" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: missing command")
    assert result.stdout == ""


def test_the_program_alone_shows_its_help(cli: Any) -> None:
    assert cli().stdout == cli("--help").stdout
    assert cli("-h").stdout.startswith("Examples:")
