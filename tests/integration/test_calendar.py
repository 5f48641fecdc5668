"""Fare calendars and filtered searches against the oracle, with Redis and without, and what they cost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flightctl.core.calendar import calendar
from flightctl.core.model.fares import FareCalendar
from flightctl.core.model.itineraries import SearchFilters, SearchRequest
from flightctl.core.runtime import Runtime
from tests import oracle
from tests.builders import DAY, ZONES, World, at
from tests.conftest import Backend, Cli

from .test_search import AIRPORTS, Flight, expected, network, shown

WITH_REDIS = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
TODAY = DAY.date()


def fares(runtime: Runtime, source: str, destination: str, flex: int = 1, day: str = "", **more: Any) -> FareCalendar:
    return calendar(runtime, SearchRequest(source, destination, day or TODAY.isoformat(), **more), flex)


def questions(dice: random.Random, count: int) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Airports, the search's own options, and the filters as the oracle takes them."""
    for _ in range(count):
        source, destination, *others = dice.sample(AIRPORTS, 4)
        asked: dict[str, Any] = {
            "via": (others[0],),
            "avoid": (others[1],),
            "carriers": ("6E", "AI"),
            "max_price": Decimal(dice.choice([300, 350, 500])),
            "max_duration": timedelta(hours=dice.choice([6, 12, 20])),
            "depart_between": dice.choice([(time(6), time(14)), (time(20), time(9))]),
        }
        kept = dice.sample(sorted(asked), dice.choice([0, 1, 1, 2]))
        options = {"seats": dice.choice([1, 1, 2]), "max_hops": dice.choice([1, 3, 3])}
        yield source, destination, options, {name: asked[name] for name in kept} | {"zone": ZoneInfo(ZONES[source])}


def typed(asked: dict[str, Any]) -> SearchFilters:
    texts: dict[str, Any] = {name: value for name, value in asked.items() if name in ("via", "avoid", "carriers")}
    if "max_price" in asked:
        texts["max_price"] = str(asked["max_price"])
    if "max_duration" in asked:
        texts["max_duration"] = f"{asked['max_duration'] // timedelta(hours=1)}h"
    if "depart_between" in asked:
        texts["depart_between"] = "-".join(f"{clock:%H:%M}" for clock in asked["depart_between"])
    return SearchFilters(**texts)


def compare(world: World, made: list[Flight], runtime: Runtime, number: int) -> int:
    """How many days had a price."""
    priced = 0
    for source, destination, options, asked in questions(random.Random(number), 12):
        filters, by_day = typed(asked), {}
        for day in (TODAY + timedelta(days=offset) for offset in range(-2, 3)):
            found = oracle.search(made, source, destination, day, now=datetime.now(UTC), filters=asked, **options)
            by_day[day] = found
        result = fares(runtime, source, destination, 2, filters=filters, **options)
        assert [(fare.date, fare.total_elements) for fare in result.content] == [
            (day, len(found)) for day, found in by_day.items()
        ], (source, destination, options, asked)
        for fare in result.content:
            cheapest = [] if fare.cheapest is None else [shown_one(fare.cheapest)]
            assert cheapest == expected(by_day[fare.date][:1]), (source, destination, fare.date, asked)
        priced += sum(fare.cheapest is not None for fare in result.content)
        wanted = expected(by_day[TODAY])
        page = len(wanted) // 6
        listed = world.search(
            source, destination, TODAY.isoformat(), filters=filters, size=3, page=page, runtime=runtime, **options
        )
        assert (listed.total_elements, shown(listed)) == (len(wanted), wanted[page * 3 : page * 3 + 3])
    return priced


def shown_one(itinerary: Any) -> tuple[str, Decimal, int, int]:
    return (
        itinerary.flight_identifier, itinerary.price, itinerary.duration_minutes, itinerary.available_seats
    )  # fmt: skip


@pytest.mark.parametrize("number", [11])
def test_against_the_oracle(world: World, number: int) -> None:
    """Twice: the second time from Redis, where there is one."""
    made = network(world, number)
    assert compare(world, made, world.runtime, number) > 8
    assert compare(world, made, world.another(), number) > 8
    assert world.warnings == []


@WITH_REDIS
def test_a_warm_calendar_takes_one_look_at_the_routes_and_one_at_the_seats(world: World) -> None:
    world.line()
    world.flight("NEXT", "DEL", "MAA", at(7, day=1))
    cold = fares(world.runtime, "DEL", "MAA").trace
    assert (cold.routes, cold.counts_hit, cold.counts_missed) == ("3 miss", 0, 4)
    world.redis.config_resetstat()
    warm = fares(world.another(), "DEL", "MAA", filters=SearchFilters(max_price="100000"))
    assert (warm.trace.routes, warm.trace.counts_hit, warm.trace.rows_read) == ("3 hit", 4, 0)
    assert warm.trace.seconds["database"] == 0
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in world.redis.info("commandstats").items()}
    assert (calls["mget"], calls["get"]) == (1, 3 + 1)
    # What a filtered calendar fetched is what any search needs.
    assert world.search("DEL", "MAA").trace.routes == "hit"


def test_seats_sold_and_days_past(world: World) -> None:
    world.line()
    day = datetime.now(ZoneInfo(ZONES["DEL"])).date()
    result = fares(world.runtime, "DEL", "BOM", 2, "today")
    assert [fare.date for fare in result.content] == [day + timedelta(days=offset) for offset in range(-2, 3)]
    assert [fare.cheapest for fare in result.content[:2]] == [None, None]
    [_, fare, _] = fares(world.runtime, "DEL", "BOM").content
    assert fare.cheapest is not None
    assert (fare.date, fare.cheapest.flight_identifier, fare.total_elements) == (TODAY, "F1", 1)
    world.booked("F1", 9)
    assert [fare.total_elements for fare in fares(world.runtime, "DEL", "BOM").content] == [0, 0, 0]


def test_a_calendar_at_the_ends_of_time_is_shorter(world: World) -> None:
    for day, dates in (("0001-01-01", [1, 2, 3]), ("9999-12-31", [29, 30, 31])):
        result = fares(world.runtime, "DEL", "BOM", 2, day)
        assert [fare.date.day for fare in result.content] == dates
        assert {fare.total_elements for fare in result.content} == {0}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_is_printed(world: World, backend: Backend, cli: Cli) -> None:
    world.line(price="1000.50")
    world.flight("6E7", "DEL", "BOM", at(5, day=1), price="900.00")
    words = ("search", "DEL", "BOM", "--date", TODAY.isoformat(), "--flex", "1")

    def run(*options: str, **more: Any) -> Any:
        return cli(*words, *options, env=backend.env, **more)

    days = [(TODAY + timedelta(days=offset)).isoformat() for offset in (-1, 0, 1)]
    rows = [[days[0], None, None, 0], [days[1], "1000.50", "F1", 1], [days[2], "900.00", "6E7", 1]]
    keys = ("date", "price", "flightIdentifier", "totalElements")
    assert run("-o", "json").json() == {
        "source": "DEL", "destination": "BOM", "seats": 1, "content": [dict(zip(keys, row, strict=True)) for row in rows],
    }  # fmt: skip
    lines = [["" if value is None else str(value) for value in row] for row in rows]
    assert run().stdout.splitlines() == ["\t".join(line) for line in (keys, *lines)]
    assert run("-o", "csv").stdout.splitlines() == [",".join(line) for line in (keys, *lines)]
    assert run("-q").stdout.split() == ["F1", "6E7"]
    assert run("-q", "--carrier", "6E").stdout.split() == ["6E7"]
    assert run("-q", "--max-price", "1000").stdout.split() == ["6E7"]
    assert "routes: 3 not asked" in run("-q", "--explain").stderr


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_the_filters_left_out_is_told(world: World, backend: Backend, cli: Cli) -> None:
    world.line()
    words = ("search", "DEL", "BLR", "--date", TODAY.isoformat())
    assert cli(*words, "--via", "bom", "-q", env=backend.env).stdout == "CF_DEL_BLR_F1_F2\n"
    for options in (("--direct",), ("--via", "HYD"), ("--avoid", "BOM,HYD"), ("--max-duration", "5h59m")):
        found = cli(*words, *options, env=backend.env)
        assert len(found.stdout.splitlines()) == 1
        assert ("Without the filters there are 1." in found.stderr) == (options != ("--direct",))
