"""`flights sales` as people and programs see it."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flightctl.core.sales import Sales, SalesPoint, Span
from flightctl.sales_plot import HEIGHT, plot
from tests.builders import World
from tests.conftest import Backend, Cli

from .samples import FLIGHT
from .terminal import Terminal

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    made.close()


def series(*levels: tuple[int, int], total: int = 180) -> Sales:
    """Confirmed and held seats at the end of each hour."""
    points = (
        SalesPoint(NOON + timedelta(hours=hour), 0, 0, 0, held, confirmed)
        for hour, (confirmed, held) in enumerate(levels)
    )
    return Sales(replace(FLIGHT, total_seats=total), Span.HOUR, tuple(points))


def area(sales: Sales, columns: int = 80) -> list[str]:
    """The lines of blocks, from above, without the axis."""
    lines = list(plot(sales, columns))[3:]
    assert max(map(len, lines)) <= min(80, max(40, columns))
    return [line.split("│")[-1].split("┤")[-1] for line in lines[:HEIGHT]]


def test_columns_are_as_high_as_the_seats() -> None:
    lines = [line.ljust(60) for line in area(series((0, 80), (80, 0), (35, 5)), 65)]
    assert {len(line) for line in lines} == {60}
    assert [line[0] for line in lines] == [*"    ░░░░"]
    assert [line[30] for line in lines] == [*"    ▅███"]
    assert [line[59] for line in lines] == [*"      ▅█"]
    assert [line[:1].strip() for line in area(series((1, 0), (61, 0)))] == [*[""] * 7, "▁"], "one seat is seen"
    assert area(series((9, 0), total=9))[0].startswith("█")


@pytest.mark.parametrize(("taken", "top"), [(1, 2), (3, 4), (5, 10), (11, 20), (59, 100), (61, 180), (200, 200)])
def test_few_seats_get_a_scale_of_their_own(taken: int, top: int) -> None:
    assert next(line for line in plot(series((taken, 0)), 80) if "┤" in line).startswith(f"{top} ┤")


@pytest.mark.parametrize("points", [0, 1, 2, 3, 77, 2000])
@pytest.mark.parametrize("columns", [20, 80, 300])
def test_it_fits_whatever_there_is(points: int, columns: int) -> None:
    lines = area(series(*((hour * 180 // 2000, 3) for hour in range(points))), columns)
    assert len(lines) == HEIGHT
    assert bool("".join(lines).strip()) is (points > 0)


def test_it_says_what_it_shows() -> None:
    text = "\n".join(plot(series((2, 0), (90, 6)), 80))
    assert "6E203-20261201 · DEL→DXB · Tue 01 Dec 06:10\n90 of 180 seats confirmed (50%), 6 held; 0 given" in text
    assert "01 Nov 12:00" in text
    assert "01 Nov 13:00" in text
    assert "no bookings so far; 180 seats" in "\n".join(plot(series(), 80))


@EMBEDDED
def test_for_programs_and_people(cli: Cli, world: World) -> None:
    world.confirmed("F1", 3)
    world.booked("F1", 2)
    env = world.backend.env
    found = json.loads(cli("flights", "sales", "f1", "-o", "json", env=env).stdout)
    assert (found["flightId"], found["status"], found["totalSeats"], found["by"]) == ("F1", "ACTIVE", 9, "hour")
    first = found["points"][0]
    assert {name: first[name] for name in first if name != "at"} == {
        "held": 5, "confirmed": 3, "givenBack": 0, "heldSeats": 2, "confirmedSeats": 3,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(cli("flights", "sales", "F1", "-o", "csv", env=env).stdout)))
    assert [row["flightId"] for row in rows] == ["F1"] * len(found["points"])
    assert rows[0]["confirmedSeats"] == "3"
    assert cli("flights", "sales", "F1", env=env).stdout.startswith("flightId\tat\theld\t")
    for flight in ("F1", "F3"):
        assert cli("flights", "sales", flight, "-q", env=env).stdout == f"{flight}\n"
    assert json.loads(cli("flights", "sales", "F3", "-o", "json", env=env).stdout)["points"] == []
    assert len(cli("flights", "sales", "F3", "-o", "csv", env=env).stdout.splitlines()) == 1
    unknown = cli("flights", "sales", "F9", "-o", "json", env=env, check=3)
    assert (unknown.stdout, "INVALID_FLIGHT" in unknown.stderr) == ("", True)
    cli("flights", "sales", "F1", "--by", "week", env=env, check=2)
    with Terminal([sys.executable, "-m", "flightctl", "flights", "sales", "F1"], cli.env | env) as terminal:
        assert terminal.end() == 0
    assert "3 of 9 seats confirmed (33%), 2 held" in terminal.text
    assert "░" in terminal.text
