"""Search against the oracle, with Redis, without it, and with a Redis that is down or full of rubbish."""

import random
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flightctl.core import database_engine, flights
from flightctl.core.cache import SeatCount
from flightctl.core.errors import (
    FlightctlError,
    InternalError,
    ServiceUnavailableError,
    UnknownAirportError,
    ValidationError,
)
from flightctl.core.model.itineraries import SearchResult
from flightctl.core.model.schedules import SeedRequest
from flightctl.core.precompute import precompute
from flightctl.core.runtime import Runtime
from flightctl.core.seeding import seed
from tests import oracle
from tests.builders import DAY, ZONES, World, at
from tests.conftest import Cli
from tests.faults import READONLY, RubbishRedis, array, bulk, error, free_port, integer, random_bytes

AIRPORTS = ["DEL", "BOM", "LHR", "JFK", "HNL", "AKL"]
WITH_REDIS = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)


@dataclass(frozen=True)
class Flight:
    """What the oracle wants to know."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    departure_date: date
    available_seats: int
    price: Decimal
    status: str


def network(world: World, seed_number: int, size: int = 140) -> list[Flight]:
    """Random flights over two days and six airports on both sides of the date line; many meet at the bounds exactly."""
    dice = random.Random(seed_number)
    made = []
    world.sql("BEGIN")
    for n in range(size):
        source, destination = dice.sample(AIRPORTS[: dice.choice([3, 4, 5, 6])], 2)
        departs = at(dice.randrange(0, 40 * 4) / 4)
        lasting = dice.randrange(2, 20) / 2
        available = dice.choice([0, 1, 2, 9, 9])
        price = Decimal(dice.choice([100, 200, 300])) + Decimal(dice.choice([0, 50])) / 100
        status = "CANCELLED" if dice.random() < 0.1 else "ACTIVE"
        flight = Flight(
            f"{dice.choice(['6E', 'AI', 'AIX'])}{n}",
            source,
            destination,
            departs,
            departs + timedelta(hours=lasting),
            departs.astimezone(ZoneInfo(ZONES[source])).date(),
            available,
            price,
            status,
        )
        world.flight(
            flight.flight_id,
            source,
            destination,
            departs,
            lasting,
            seats=available or 1,
            available=available,
            price=str(price),
            status=status,
        )
        made.append(flight)
    world.sql("COMMIT")
    world.unchecked = "full flights have no bookings"
    return made


def shown(result: SearchResult) -> list[tuple[str, Decimal, int, int]]:
    return [(i.flight_identifier, i.price, i.duration_minutes, i.available_seats) for i in result.content]


def expected(found: list[tuple[Flight, ...]]) -> list[tuple[str, Decimal, int, int]]:
    return [
        (
            oracle.identifier(legs),
            oracle.price(legs),
            oracle.duration_minutes(legs),
            min(leg.available_seats for leg in legs),
        )
        for legs in found
    ]


def questions(dice: random.Random, count: int) -> list[dict[str, Any]]:
    asked = []
    for _ in range(count):
        source, destination = dice.sample(AIRPORTS[: dice.choice([3, 4, 6])], 2)
        asked.append(
            {
                "source": source,
                "destination": destination,
                "day": DAY.date() + timedelta(days=dice.choice([-1, 0, 0, 0, 1])),
                "seats": dice.choice([1, 1, 2, 9]),
                "max_hops": dice.choice([1, 2, 3, 3]),
                "sort": dice.choice(["price", "duration", "departure"]),
                "descending": dice.random() < 0.5,
            }
        )
    return asked


def compare(world: World, made: list[Flight], runtime: Runtime, asked: list[dict[str, Any]]) -> int:
    """Every question's whole answer against the oracle's; how many itineraries there were in all."""
    total = 0
    for question in asked:
        q = dict(question)
        found = oracle.search(
            made,
            q["source"],
            q["destination"],
            q["day"],
            now=datetime.now(UTC),
            seats=q["seats"],
            max_hops=q["max_hops"],
            sort=q["sort"],
            desc=q["descending"],
        )
        day = q.pop("day").isoformat()
        wanted = expected(found)
        for page in range(0, len(found) // 100 + 1):
            result = world.search(date=day, size=100, page=page, runtime=runtime, **q)
            assert result.total_elements == len(found), question
            assert shown(result) == wanted[page * 100 : page * 100 + 100], question
        if found:
            result = world.search(date=day, size=3, page=1, runtime=runtime, **q)
            assert shown(result) == wanted[3:6], question
        total += len(found)
    return total


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_against_the_oracle(world: World, number: int) -> None:
    """Twice: the second time from Redis, where there is one."""
    made = network(world, number)
    asked = questions(random.Random(number), 25)
    assert compare(world, made, world.runtime, asked) > 50
    compare(world, made, world.another(), asked)
    assert world.warnings == []


@pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
def test_thousands_of_flights_and_pages_deep_in_the_list(world: World) -> None:
    """The whole network of India, cold and then warm, seats sold in between."""
    day = seed(world.runtime, SeedRequest(dataset="india", start="+2d", days=2)).first_day
    world.unchecked = "flights are full without bookings"
    world.sql("UPDATE flights SET available_seats = 1, seat_version = seat_version + 1 WHERE flight_number LIKE '%%7'")
    columns = "flight_id, source, destination, departure_time, arrival_time, departure_date, available_seats, price"
    read = schedule_of(world, columns)
    assert len(read) > 4500
    asked = [("JDH", "HYD", "price", False), ("SXR", "CJB", "duration", True), ("COK", "PAT", "departure", False)]
    for source, destination, sort, desc in asked:
        found = oracle.search(read, source, destination, day, now=datetime.now(UTC), seats=2, sort=sort, desc=desc)
        assert len(found) > 300
        wanted = expected(found)
        last = (len(found) - 1) // 20
        for page in (0, last // 3, last // 2, last // 2 + 1, last - 1, last, last + 1):
            result = world.search(
                source, destination, day.isoformat(), seats=2, sort=sort, descending=desc, page=page, size=20
            )
            assert result.total_elements == len(found)
            assert shown(result) == wanted[page * 20 : page * 20 + 20], (source, destination, page)


def schedule_of(world: World, columns: str) -> list[Flight]:
    """All flights, read behind the program's back."""

    def instant(value: Any) -> datetime:
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).replace(tzinfo=UTC)

    return [
        Flight(
            *row[:3],
            instant(row[3]),
            instant(row[4]),
            date.fromisoformat(str(row[5])),
            row[6],
            Decimal(row[7]) / 100 if world.backend.is_sqlite else row[7],
            "ACTIVE",
        )
        for row in world.sql(f"SELECT {columns} FROM flights")
    ]


@WITH_REDIS
def test_a_search_can_tell_what_came_from_where(world: World, cli: Cli) -> None:
    world.line()
    first, second = world.search("DEL", "MAA").trace, world.search("DEL", "MAA").trace
    assert (first.routes, first.counts_hit, first.counts_missed, first.rows_read) == ("miss", 0, 3, 3)
    assert (second.routes, second.counts_hit, second.counts_missed, second.rows_read) == ("hit", 3, 0, 0)
    assert first.seconds["database"] > 0 == second.seconds["database"]
    day = f"{DAY:%Y-%m-%d}"
    told = cli("search", "DEL", "MAA", "--date", day, "--explain", "-o", "json", env=world.backend.env)
    assert told.json() == cli("search", "DEL", "MAA", "--date", day, "-o", "json", env=world.backend.env).json()
    assert "time: cache " in told.stderr
    assert "seat counts: " in told.stderr
    down = world.backend.env | {"FLIGHTCTL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    told = cli("search", "DEL", "MAA", "--date", day, "--explain", "-q", env=down)
    assert "redis: not usable, left alone for a while; routes: not asked" in told.stderr


@WITH_REDIS
def test_the_key_to_sort_by_takes_any_case(world: World, cli: Cli) -> None:
    world.line()
    one, other = (
        cli("search", "DEL", "MAA", "--date", f"{DAY:%Y-%m-%d}", "--sort", key, "-o", "json", env=world.backend.env)
        for key in ("duration", " Duration")
    )
    assert one.json() == other.json()


def test_legs_are_told_whole(world: World) -> None:
    world.line(price="1000.50")
    world.booked("F2", 4)
    [direct] = world.search("del", " bom ").content
    assert (direct.flight_identifier, direct.type, direct.price) == ("F1", "DIRECT", Decimal("1000.50"))
    result = world.search("DEL", "MAA")
    [itinerary] = result.content
    assert (result.total_elements, result.total_pages) == (1, 1)
    assert (itinerary.flight_identifier, itinerary.type) == ("CF_DEL_MAA_F1_F2_F3", "COMPUTED")
    assert (itinerary.price, itinerary.duration_minutes, itinerary.available_seats) == (Decimal("3001.50"), 600, 5)
    assert [(leg.flight_id, leg.source, leg.destination, leg.available_seats) for leg in itinerary.legs] == [
        ("F1", "DEL", "BOM", 9),
        ("F2", "BOM", "BLR", 5),
        ("F3", "BLR", "MAA", 9),
    ]
    assert [(leg.departure_time, leg.arrival_time) for leg in itinerary.legs] == [
        (at(6), at(8)),
        (at(10), at(12)),
        (at(14), at(16)),
    ]
    # What search names can be booked.
    assert world.book(itinerary.flight_identifier).booking.total_price == itinerary.price


def test_the_date_is_that_of_the_origin(world: World) -> None:
    world.flight("LATE", "HNL", "LAX", at(5, day=1))  # 19:00 of DAY in Honolulu
    world.flight("EARLY", "AKL", "LHR", at(20, day=-1))  # 9:00 of DAY in Auckland
    assert [i.flight_identifier for i in world.search("HNL", "LAX").content] == ["LATE"]
    assert [i.flight_identifier for i in world.search("AKL", "LHR").content] == ["EARLY"]
    assert world.search("HNL", "LAX", f"{at(0, 1):%Y-%m-%d}").total_elements == 0


@pytest.mark.parametrize(("word", "days"), [("today", 0), ("tomorrow", 1), ("+1d", 1), ("+3d", 3), ("TOMORROW", 1)])
def test_relative_dates_are_the_origins(world: World, word: str, days: int) -> None:
    for origin in ("AKL", "HNL"):
        local = datetime.now(ZoneInfo(ZONES[origin])) + timedelta(days=days)
        world.flight(f"{origin}1", origin, "LHR", local.replace(hour=23, minute=59, second=59))
        assert [i.flight_identifier for i in world.search(origin, "LHR", word).content] == [f"{origin}1"]


def test_nothing_is_no_error(world: World) -> None:
    world.line()
    for result in (
        world.search("MAA", "DEL"),
        world.search(date="2020-01-01"),
        world.search(date="9999-12-31"),
        world.search(date="0001-01-01"),
        world.search(page=7),
    ):
        assert result.content == ()
    assert world.search("MAA", "DEL").total_pages == 0
    assert world.search(page=7).total_elements == 1


def test_departed_today_is_not_shown(world: World) -> None:
    now = datetime.now(UTC)
    world.flight("GONE", "LHR", "JFK", now - timedelta(seconds=2))
    world.flight("SOON", "LHR", "JFK", now + timedelta(seconds=90))
    found = world.search("LHR", "JFK", now.astimezone(ZoneInfo("Europe/London")).date().isoformat())
    assert [i.flight_identifier for i in found.content] in (["SOON"], [])  # [] when midnight is nearer than 90 s
    assert "GONE" not in [i.flight_identifier for i in world.search("LHR", "JFK", "today").content]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({"source": "XXXX"}, UnknownAirportError),
        ({"source": ""}, UnknownAirportError),
        ({"destination": "' OR 1"}, UnknownAirportError),
        ({"destination": "x" * 10_000}, UnknownAirportError),
        ({"source": "\udc80"}, UnknownAirportError),
        ({"date": "yesterday"}, ValidationError),
        ({"date": "2026-02-30"}, ValidationError),
        ({"date": "20261201"}, ValidationError),
        ({"date": "+99999d"}, ValidationError),
        ({"date": "-1d"}, ValidationError),
        ({"seats": 0}, ValidationError),
        ({"seats": 10}, ValidationError),
        ({"max_hops": 0}, ValidationError),
        ({"max_hops": 4}, ValidationError),
        ({"sort": "colour"}, ValidationError),
        ({"page": -1}, ValidationError),
        ({"page": 10**30}, ValidationError),
        ({"size": 0}, ValidationError),
        ({"size": 101}, ValidationError),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_bad_questions(world: World, bad: dict[str, Any], kind: type[FlightctlError]) -> None:
    with pytest.raises(kind):
        world.search(**bad)


def test_connection_times_are_configurable(world: World) -> None:
    world.line()  # two hours between the flights
    assert world.search("DEL", "BLR").total_elements == 1
    narrow = world.another(FLIGHTCTL_SEARCH_MIN_CONNECTION="121m")
    assert world.search("DEL", "BLR", runtime=narrow).total_elements == 0
    world.flight("F9", "BOM", "BLR", at(15))  # seven hours after F1
    assert world.search("DEL", "BLR").total_elements == 1
    wide = world.another(FLIGHTCTL_SEARCH_MAX_CONNECTION="7h")
    assert world.search("DEL", "BLR", runtime=wide).total_elements == 2
    assert world.search("DEL", "BLR").total_elements == 1


# --- what changes is seen --------------------------------------------------------------------------------------------


def test_changes_are_seen_at_once(world: World) -> None:
    """Searched before and after by somebody else, whose routes come from Redis where there is one."""
    other = world.another()

    def seen(source: str = "DEL", destination: str = "BOM", **more: Any) -> list[tuple[str, Decimal, int]]:
        result = world.search(source, destination, runtime=other, **more)
        return [(i.flight_identifier, i.price, i.available_seats) for i in result.content]

    world.line()
    assert seen() == [("F1", Decimal(1000), 9)]
    booking = world.booked(seats=3)
    assert seen() == [("F1", Decimal(1000), 6)]
    assert seen(seats=7) == []
    world.release(booking)
    assert seen() == [("F1", Decimal(1000), 9)]
    flights.update(world.runtime, "F1", price="1500", seats=12)
    assert seen() == [("F1", Decimal(1500), 12)]
    assert seen("DEL", "MAA") == [("CF_DEL_MAA_F1_F2_F3", Decimal(3500), 9)]
    local = f"{DAY:%Y-%m-%d}"
    flights.add(
        world.runtime,
        flight="6E1",
        source="DEL",
        destination="BOM",
        departure=f"{local}T06:30",
        arrival=f"{local}T08:30",
        seats=4,
        price="900",
    )
    assert seen() == [(f"6E1-{DAY:%Y%m%d}", Decimal(900), 4), ("F1", Decimal(1500), 12)]
    flights.cancel(world.runtime, "F1", reason=None)
    assert seen() == [(f"6E1-{DAY:%Y%m%d}", Decimal(900), 4)]
    # 6E1 lands at 3:00, and F2 leaves at 10:00, seven hours later.
    assert seen("DEL", "MAA") == []


def test_a_seed_is_seen_at_once(world: World, tmp_path: Any) -> None:
    world.line()
    other = world.another()
    assert world.search(runtime=other).total_elements == 1
    file = tmp_path / "one.csv"
    file.write_text(
        "carrier,flight_number,origin,destination,departure_local,arrival_local,arrival_day_offset,"
        "days_of_operation,valid_from,valid_to,aircraft_or_seats,price\n"
        "AI,101,DEL,BOM,10:00,12:00,0,1234567,,,7,10\n"
    )
    seed(world.runtime, SeedRequest(file=str(file), start=f"{DAY:%Y-%m-%d}", days=1))
    result = world.search(runtime=other)
    assert [(i.flight_identifier, i.available_seats) for i in result.content] == [(f"AI101-{DAY:%Y%m%d}", 7), ("F1", 9)]
    seed(world.runtime, SeedRequest(file=str(file), start=f"{DAY:%Y-%m-%d}", days=1, reset=True))
    result = world.search(runtime=other)
    assert [(i.flight_identifier, i.available_seats) for i in result.content] == [(f"AI101-{DAY:%Y%m%d}", 7)]


# --- Redis -----------------------------------------------------------------------------------------------------------


@WITH_REDIS
def test_keys_values_and_their_lives(world: World) -> None:
    world.line()
    world.search("DEL", "BLR")
    booking = world.booked("CF_DEL_BLR_F1_F2", 2)
    world.cancel_by_half("F3")
    world.search("BLR", "MAA")
    routes = f"routes:DEL:BLR:{DAY:%Y-%m-%d}"
    names = {name.decode() for name in world.redis.scan_iter()}
    assert {routes, "flight:F1:seats", "flight:F2:seats"} <= names
    assert not [name for name in names if name.startswith("inventory:lock:")]  # released
    versions = dict(world.sql("SELECT flight_id, seat_version FROM flights"))
    assert world.redis.get("flight:F1:seats") == b"7:%d" % versions["F1"]
    assert 3500 < world.redis.ttl(routes) <= 3600
    assert 50 < world.redis.ttl("flight:F1:seats") <= 60
    assert all(world.redis.ttl(name) > 0 for name in names)  # nothing stays for ever
    world.release(booking)
    flights.cancel(world.runtime, "F1", reason=None)
    version = world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'")
    assert world.redis.get("flight:F1:seats") == b"0:%d" % version


@WITH_REDIS
def test_prefix(world: World) -> None:
    prefix = "air[port]*:"
    runtime = world.another(FLIGHTCTL_REDIS_PREFIX=prefix)
    world.line()
    world.search("DEL", "BLR", runtime=runtime)
    from flightctl.core.booking import book
    from flightctl.core.model.bookings import BookRequest

    book(runtime, BookRequest("F1", "u1"))
    names = {name.decode() for name in world.redis.scan_iter()}
    assert f"{prefix}routes:DEL:BLR:{DAY:%Y-%m-%d}" in names
    assert f"{prefix}flight:F1:seats" in names
    assert [name for name in names if not name.startswith(prefix)] == []
    assert sorted(runtime.cache.known_flights()) == ["F1", "F2"]


@WITH_REDIS
def test_a_first_search_asks_the_database_few_questions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a round trip: two for the session, one for all that must be known of it, three for the flights."""
    import pymysql.connections

    world.line()
    asked: list[str] = []
    execute = pymysql.connections.Connection._execute_command

    def noting(connection: Any, command: int, text: Any) -> Any:
        asked.append(text if isinstance(text, str) else bytes(text).decode())
        return execute(connection, command, text)

    runtime = world.another()
    monkeypatch.setattr(pymysql.connections.Connection, "_execute_command", noting)
    assert world.search("DEL", "MAA", runtime=runtime).total_elements
    assert len(asked) <= 6, asked


@WITH_REDIS
def test_a_list_of_flights_that_the_server_cuts_short_is_no_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.line()
    monkeypatch.setattr(database_engine, "_LONGEST_TEXT", 40)
    with pytest.raises(InternalError, match="in part only"):
        world.search("DEL", "MAA", runtime=world.another(FLIGHTCTL_REDIS_URL=""))


@WITH_REDIS
def test_second_search_asks_the_database_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    first = world.search("DEL", "MAA")
    alone = world.another(FLIGHTCTL_DATABASE_URL=f"mysql+pymysql://nobody@127.0.0.1:{free_port()}/nothing")
    assert world.search("DEL", "MAA", runtime=alone) == first
    assert world.warnings == []


@WITH_REDIS
@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        (SeatCount(5, 10), SeatCount(7, 9), b"5:10"),
        (SeatCount(5, 10), SeatCount(7, 11), b"7:11"),
        (SeatCount(5, 10), SeatCount(5, 10), b"5:10"),
        (SeatCount(5, 999_999), SeatCount(7, 1_000_000), b"7:1000000"),  # numbers, not text
        (SeatCount(5, 1_790_000_000_000_001), SeatCount(7, 1_790_000_000_000_000), b"5:1790000000000001"),
    ],
)
def test_a_published_count_never_overwrites_a_newer_one(
    world: World, old: SeatCount, new: SeatCount, stays: bytes
) -> None:
    world.runtime.cache.publish_seats({"F1": old})
    world.runtime.cache.publish_seats({"F1": new, "F2": new})
    assert world.redis.get("flight:F1:seats") == stays
    assert world.redis.get("flight:F2:seats") == b"%d:%d" % (new.seats, new.version)
    assert 50 < world.redis.ttl("flight:F1:seats") <= 60


@WITH_REDIS
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"rubbish",
        b"5",
        b"-1:3",
        b"5:",
        b":5",
        b"5:5:5",
        b"\xff\xfe",
        b"9" * 100_000,
        b"5:3\n",
        b"\n",
        b"1:1\n2:2",
        b"5:3\r",
    ],
)
def test_a_count_that_is_none_is_replaced(world: World, value: bytes) -> None:
    world.line()
    world.redis.set("flight:F1:seats", value)
    assert [i.available_seats for i in world.search().content] == [9]
    assert world.redis.get("flight:F1:seats").startswith(b"9:")  # type: ignore[union-attr]


@WITH_REDIS
def test_a_count_from_the_far_future_is_replaced(world: World) -> None:
    world.line()
    world.redis.set("flight:F1:seats", f"0:{10**18}")
    world.booked()
    assert [i.available_seats for i in world.search().content] == [8]


RUBBISH = {
    "text": lambda client, name: client.set(name, b"rubbish"),
    "nothing": lambda client, name: client.set(name, b""),
    "bytes": lambda client, name: client.set(name, bytes(range(256)) * 50),
    "number": lambda client, name: client.set(name, b"1"),
    "list": lambda client, name: (client.delete(name), client.rpush(name, "1", "2")),
    "hash": lambda client, name: (client.delete(name), client.hset(name, "a", "b")),
    "half": lambda client, name: client.set(name, (client.get(name) or b"12")[:-2]),
    "flipped": lambda client, name: client.set(name, (client.get(name) or b"12")[:-1] + b"\x00"),
}


@WITH_REDIS
@pytest.mark.parametrize("how", RUBBISH)
def test_rubbish_in_every_key(world: World, how: str) -> None:
    made = network(world, 7)
    asked = questions(random.Random(7), 12)
    compare(world, made, world.runtime, asked)
    names = world.redis.keys()
    assert b"schedule:version" in names
    assert len(names) > 10
    for name in names:
        RUBBISH[how](world.redis, name)
    compare(world, made, world.another(), asked)
    compare(world, made, world.another(), asked)
    assert world.warnings == []  # values that nobody here would have written are misses, not failures


@WITH_REDIS
@pytest.mark.parametrize("kind", ["lock", "wake"])
def test_rubbish_in_the_locks_keys(world: World, kind: str) -> None:
    world.line()
    for value in ("string", "list"):
        name = f"inventory:{kind}:F1"
        world.redis.delete(name)
        world.redis.set(name, "x") if value == "string" else world.redis.rpush(name, "x", "y")
        started = time.monotonic()
        booking = world.booked()
        assert time.monotonic() - started < 1.5
        world.release(booking)
    world.stale.add("F1")


def _ask_all(world: World, made: list[Flight], runtime: Runtime) -> None:
    started = time.monotonic()
    compare(world, made, runtime, questions(random.Random(5), 6))
    assert time.monotonic() - started < 5
    assert len([line for line in world.warnings if "Redis" in line]) == 1


def test_redis_is_not_there(world: World) -> None:
    made = network(world, 5)
    _ask_all(world, made, world.another(FLIGHTCTL_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"))


RUBBISH_ANSWERS: dict[str, Any] = {
    "random": random_bytes,
    "error": error("ERR no"),
    "read-only": READONLY,
    "integer": integer(7),
    "text": bulk(b"rubbish"),
    "array": array([b"1", b"2", b"3"]),
    "empty array": array([]),
}


@pytest.mark.parametrize("answer", RUBBISH_ANSWERS)
@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_redis_answers_rubbish(world: World, answer: str) -> None:
    made = network(world, 5)
    with RubbishRedis(RUBBISH_ANSWERS[answer]) as server:
        runtime = world.another(FLIGHTCTL_REDIS_URL=server.url)
        started = time.monotonic()
        compare(world, made, runtime, questions(random.Random(5), 6))
        assert time.monotonic() - started < 5
    assert len(world.warnings) <= 1


def test_everything_works_without_redis(world: World) -> None:
    """A whole life of bookings with Redis configured and absent: one warning, and no lasting delay."""
    from flightctl.core.booking import book
    from flightctl.core.model.bookings import BookRequest
    from flightctl.core.settlement import confirm
    from flightctl.core.sweeper import sweep

    world.line()
    runtime = world.another(FLIGHTCTL_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    bookings = [book(runtime, BookRequest("CF_DEL_BLR_F1_F2", "u1")).booking.booking_id for _ in range(3)]
    confirm(runtime, bookings[0])
    world.lapse(bookings[1])
    assert sweep(runtime).expired_bookings == 1
    flights.cancel(runtime, "F2", reason=None)
    assert [i.flight_identifier for i in world.search(runtime=runtime).content] == ["F1"]
    assert time.monotonic() - started < 5
    assert len(world.warnings) == 1
    world.stale |= {"F1", "F2"}


# --- precompute ------------------------------------------------------------------------------------------------------


@WITH_REDIS
def test_precompute(world: World) -> None:
    world.line()
    world.flight("BIG", "BLR", "MAA", at(5), seats=300)
    result = precompute(world.runtime, date=f"{DAY:%Y-%m-%d}", days=2, top=2)
    assert (result.routes, result.days) == (2, 2)
    assert world.redis.exists(f"routes:BLR:MAA:{DAY:%Y-%m-%d}")
    assert {i.flight_identifier for i in world.search("BLR", "MAA").content} == {"BIG", "F3"}


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_precompute_without_redis(world: World) -> None:
    world.line()
    with pytest.raises(ServiceUnavailableError):
        precompute(world.runtime, date=f"{DAY:%Y-%m-%d}", days=1, top=5)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("bad", [{"days": 0}, {"days": 367}, {"top": 0}, {"date": "x"}], ids=str)
def test_bad_precompute(world: World, bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        precompute(world.runtime, **{"date": "today", "days": 1, "top": 1, **bad})


def test_an_id_of_other_peoples_making_does_no_harm(world: World) -> None:
    """A flight id has no ``_``. Twice: with Redis, the second time from there."""
    world.flight("X_1")
    for _ in range(2):
        assert [i.flight_identifier for i in world.search().content] == ["X_1"]
