"""Seeding: repeatable, whole, and nothing of a bad row."""

from pathlib import Path
from typing import Any

import pytest

from flightctl.core.errors import EnvironmentProtectedError, FlightctlError, UnknownAirportError, ValidationError
from flightctl.core.model.schedules import SeedRequest, SeedResult
from flightctl.core.seeding import seed
from tests.builders import DAY, World, unchanged

HEADER = (
    "carrier,flight_number,origin,destination,departure_local,arrival_local,arrival_day_offset,"
    "days_of_operation,valid_from,valid_to,aircraft_or_seats,price\n"
)
START = f"{DAY:%Y-%m-%d}"
STAMP = f"{DAY:%Y%m%d}"
DEMO_CITIES = {"DEL", "BOM", "BLR", "HYD", "MAA", "CCU", "GOI"}


def load(world: World, *rows: str, days: int = 1, **more: Any) -> SeedResult:
    folder = Path(world.backend.settings()["database.url"].partition("?")[0].removeprefix("sqlite:///")).parent
    file = (folder if folder.is_dir() else Path.home()) / "schedule.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return seed(world.runtime, SeedRequest(file=str(file), start=START, days=days, **more))


def row(number: str = "101", origin: str = "DEL", destination: str = "BOM", **other: str) -> str:
    values = {"departure": "10:00", "arrival": "12:00", "offset": "0", "days": "1234567", "seats": "7", "price": "10"}
    v = values | other
    return (
        f"AI,{number},{origin},{destination},{v['departure']},{v['arrival']},{v['offset']},{v['days']},,,"
        f"{v['seats']},{v['price']}"
    )


def ids(world: World) -> list[str]:
    return [name for (name,) in world.sql("SELECT flight_id FROM flights ORDER BY flight_id")]


def test_demo_is_repeatable(world: World) -> None:
    told: list[tuple[int, int]] = []
    first = seed(world.runtime, SeedRequest(start=START, days=2), lambda done, total: told.append((done, total)))
    assert (first.flights, first.added, first.rejected) == (first.flights, first.flights, ())
    assert 150 <= first.flights <= 250  # about 100 a day
    assert first.first_day == DAY.date()
    assert (first.last_day - first.first_day).days == 1
    assert first.airports == 7
    assert {city for (city,) in world.sql("SELECT DISTINCT source FROM flights")} == DEMO_CITIES
    assert world.one("SELECT COUNT(*) FROM flights") == first.flights
    assert told[-1] == (first.flights, first.flights)
    again = unchanged(world, lambda: seed(world.runtime, SeedRequest(start=START, days=2)))
    assert (again.flights, again.added) == (first.flights, 0)
    longer = seed(world.runtime, SeedRequest(start=START, days=3))
    assert longer.added == longer.flights - first.flights > 0


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_india_is_the_whole_network(world: World) -> None:
    result = seed(world.runtime, SeedRequest(dataset=" India ", start=START, days=1))
    assert 2000 <= result.flights == result.added <= 2900
    assert result.airports > 60
    demo = seed(world.runtime, SeedRequest(start=START, days=1))
    assert demo.added == 0  # the demo network is a part of it
    assert unchanged(world, lambda: seed(world.runtime, SeedRequest("india", start=START, days=1))).added == 0


def test_ranges_in_any_order_give_the_same_flights(world: World) -> None:
    seed(world.runtime, SeedRequest(start=f"{DAY:%Y-%m-%d}", days=3))
    whole = ids(world)
    seed(world.runtime, SeedRequest(start=START, days=1, reset=True))
    next_day = DAY.fromordinal(DAY.toordinal() + 1)
    seed(world.runtime, SeedRequest(start=f"{next_day:%Y-%m-%d}", days=2))
    assert ids(world) == whole


def test_flights_of_a_file(world: World) -> None:
    result = load(world, row(), row("102", "BOM", "DEL", seats="", price=""), days=2)
    assert (result.flights, result.added, result.airports) == (4, 4, 2)
    [(seats, available, status)] = world.sql(
        "SELECT total_seats, available_seats, status FROM flights WHERE flight_id = %s", f"AI101-{STAMP}"
    )
    assert (seats, available, status) == (7, 7, "ACTIVE")
    assert world.one("SELECT total_seats FROM flights WHERE flight_id = %s", f"AI102-{STAMP}") == 180
    assert world.one("SELECT price FROM flights WHERE flight_id = %s", f"AI101-{STAMP}") == world.money("10")
    assert world.booked(f"AI101-{STAMP}")


def test_flights_that_are_there_stay_as_they_are(world: World) -> None:
    load(world, row())
    booking = world.booked(f"AI101-{STAMP}", 2)
    result = unchanged(world, lambda: load(world, row(departure="11:00", arrival="14:00", seats="99", price="5")))
    assert (result.flights, result.added) == (1, 0)
    assert world.status(booking) == "PENDING"


def test_bad_rows_are_told_and_nothing_of_them_is_loaded(world: World) -> None:
    bad = [row("102", "DEL", "XQX"), row("103", days="8"), row("104", arrival="9:00"), row("105", price="-1"), "AI,106"]
    result = load(world, row(), *bad, row("107"))
    assert (result.flights, result.added) == (2, 2)
    assert [line for line, _ in result.rejected] == [3, 4, 5, 6, 7]
    assert all(reason for _, reason in result.rejected)
    assert ids(world) == [f"AI101-{STAMP}", f"AI107-{STAMP}"]


@pytest.mark.parametrize("rows", [[], [row("102", "DEL", "XQX")]], ids=["empty", "bad"])
def test_no_good_row_is_an_error_and_resets_nothing(world: World, rows: list[str]) -> None:
    world.line()
    with pytest.raises(ValidationError) as caught:
        unchanged(world, lambda: load(world, *rows, reset=True))
    assert caught.value.exit_status == 2
    assert caught.value.details["skipped"] == len(rows)


def test_a_number_that_another_origin_has_already(world: World) -> None:
    """Loaded one after the other or together: two flights, and a third load adds none."""
    load(world, row("101", "DEL", "BOM"))
    result = load(world, row("101", "BLR", "MAA"))
    assert result.added == 1
    assert ids(world) == [f"AI101-{STAMP}", f"AI101-{STAMP}-BLR"]
    both = [row("101", "DEL", "BOM"), row("101", "BLR", "MAA")]
    assert unchanged(world, lambda: load(world, *both)).added == 0
    assert unchanged(world, lambda: load(world, both[1])).added == 0
    load(world, *both, reset=True)
    assert ids(world) == [f"AI101-{STAMP}-BLR", f"AI101-{STAMP}-DEL"]
    assert unchanged(world, lambda: load(world, both[0])).added == 0


def test_reset_empties_everything_booked(world: World) -> None:
    load(world, row())
    world.confirmed(f"AI101-{STAMP}")
    old = world.one("SELECT seat_version FROM flights")
    world.release(world.confirmed(f"AI101-{STAMP}"))
    world.line()
    result = load(world, row("101", seats="5"), reset=True)
    assert (result.flights, result.added) == (1, 1)
    assert ids(world) == [f"AI101-{STAMP}"]
    for table in ("bookings", "payments", "refunds", "booking_events", "seat_reservations", "mock_gateway_ledger"):
        assert world.one(f"SELECT COUNT(*) FROM {table}") == 0
    assert world.one("SELECT seat_version FROM flights") > old  # never goes back, not even over a reset
    if world.backend.redis_url:
        assert (world.redis.get("flight:F1:seats") or b"0:").startswith(b"0:")
        assert (world.redis.get(f"flight:AI101-{STAMP}:seats") or b"5:").startswith(b"5:")
    assert [i.available_seats for i in world.search().content] == [5]


@pytest.mark.parametrize("name", ["production", " PRODUCTION ", "Production"])
def test_production_is_protected(world: World, name: str) -> None:
    world.line()
    runtime = world.another(FLIGHTCTL_ENVIRONMENT=name)
    for request in (SeedRequest(start=START), SeedRequest(start=START, reset=True), SeedRequest("nosuch")):
        with pytest.raises(EnvironmentProtectedError) as caught:
            unchanged(world, lambda request=request: seed(runtime, request))
        assert caught.value.exit_status == 4


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "request_",
    [
        SeedRequest("nosuch"),
        SeedRequest(days=0),
        SeedRequest(days=367),
        SeedRequest(start="x"),
        SeedRequest(start="9999-12-31"),
        SeedRequest(start="0001-01-01"),
        SeedRequest(file="/nonexistent/file.csv"),
        SeedRequest(file="/"),
        SeedRequest(file="/dev/null"),
        SeedRequest(file=""),
        SeedRequest(file="\udc80"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("reset", [False, True])
def test_bad_requests_reset_nothing(world: World, request_: SeedRequest, reset: bool) -> None:
    from dataclasses import replace

    world.line()
    with pytest.raises((ValidationError, UnknownAirportError)) as caught:
        unchanged(world, lambda: seed(world.runtime, replace(request_, reset=reset)))
    assert isinstance(caught.value, FlightctlError)


def test_others_who_add_flights_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a load knows of the flights that are there holds only until somebody else changes the schedule, be it by
    flightctl or by SQL of their own."""
    from flightctl.core import flights, seeding

    monkeypatch.setattr(seeding, "CHUNK", 2)
    rows = [row(str(number)) for number in range(101, 107)]

    def add(done: int, _total: int) -> None:
        if done == 2:
            flights.add(
                world.another(), flight="AI104", source="DEL", destination="BOM",
                departure=f"{START}T10:00", arrival=f"{START}T12:00", seats=7, price="10",
            )  # fmt: skip
        elif done == 4:
            world.flight(f"AI106-{STAMP}", carrier="AI", number="106")

    folder = Path.home()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedule.csv").write_text(HEADER + "".join(f"{one}\n" for one in rows))
    request = SeedRequest(file=str(folder / "schedule.csv"), start=START, days=1)
    result = seed(world.runtime, request, add)
    assert (result.flights, result.added) == (6, 4)
    assert len(ids(world)) == 6
