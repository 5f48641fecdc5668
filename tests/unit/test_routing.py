"""The itinerary engine against the brute-force oracle, its bytes against damage, and its limits one by one."""

import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import permutations
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flightctl.core import search_filters
from flightctl.core.model.flights import Flight
from flightctl.core.model.itineraries import SearchFilters
from flightctl.core.model.states import FlightStatus
from flightctl.core.routing import Query, Row, Timetable, build, check_connection, to_instant, to_microseconds
from flightctl.core.routing_pack import pack, unpack
from flightctl.core.routing_query import find
from flightctl.core.search_filters import parse
from tests import oracle

DAY = date(2026, 12, 1)
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ZONES = {
    "DEL": "Asia/Kolkata",
    "AKL": "Pacific/Auckland",  # the date line lies between these two
    "HNL": "Pacific/Honolulu",
    "LHR": "Europe/London",
    "JFK": "America/New_York",
}
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
MIN, MAX = 60 * 60_000_000, 360 * 60_000_000
SORTS = ["price", "duration", "departure"]


def flight(
    flight_id: str,
    source: str,
    destination: str,
    departure: datetime,
    hours: float | timedelta = 2,
    price: int = 100,
    seats: int = 9,
    status: FlightStatus = FlightStatus.ACTIVE,
) -> Flight:
    lasting = hours if isinstance(hours, timedelta) else timedelta(hours=hours)
    local = departure.astimezone(ZoneInfo(ZONES.get(source, "UTC")))
    return Flight(
        flight_id,
        source,
        destination,
        departure,
        departure + lasting,
        local.date(),
        9,
        seats,
        1,
        Decimal(price),
        status,
    )


def row(f: Flight) -> Row:
    times = to_microseconds(f.departure_time), to_microseconds(f.arrival_time)
    return (f.flight_id, f.source, f.destination, *times, int(f.price * 100))


def timetable(
    flights: Sequence[Flight], source: str, destination: str, shortest: int = MIN, longest: int = MAX
) -> Timetable:
    rows = [row(f) for f in flights]
    firsts = [row(f) for f in flights if f.departure_date == DAY and f.source == source]
    bounds = {"min_connection": shortest, "max_connection": longest}
    return build(source, destination, firsts=firsts, middles=rows, lasts=rows, **bounds)


def available(table: Timetable, flights: Sequence[Flight]) -> list[int]:
    seats = {f.flight_id: f.available_seats if f.status is FlightStatus.ACTIVE else 0 for f in flights}
    return [seats[flight_id] for flight_id in table.ids]


def query(**changes: object) -> Query:
    defaults = {"seats": 1, "max_hops": 3, "sort": "price", "desc": False, "page": 0, "size": 20}
    return Query(
        **{**defaults, "now": to_microseconds(LONG_AGO), "min_connection": MIN, "max_connection": MAX, **changes}
    )


def answer(flights: Sequence[Flight], source: str = "DEL", destination: str = "LHR", **changes: object) -> list[str]:
    """Identifiers of everything found."""
    table = timetable(flights, source, destination)
    total, page = find(table, available(table, flights), query(size=1000, **changes))
    assert total == len(page)
    return ["_".join(table.ids[i] for i in legs) for legs in page]


AIRPORTS = ["DEL", "AKL", "HNL", "LHR"]
CARRIERS = ["6E", "6E", "AI", "AIX"]  # one code begins another
GRID = timedelta(minutes=30)
ENDS = st.sampled_from([("DEL", "LHR")] * 48 + [(a, b) for a in AIRPORTS for b in AIRPORTS])
# Mostly towards LHR, so that many of them make itineraries of two and three legs.
PAIRS = [("DEL", "AKL"), ("DEL", "HNL"), ("AKL", "HNL"), ("HNL", "AKL"), ("AKL", "LHR"), ("HNL", "LHR")]
PAIRS = PAIRS * 4 + [("DEL", "LHR")] + [(a, b) for a in AIRPORTS for b in AIRPORTS]


@st.composite
def flight_lists(draw: st.DrawFn) -> list[Flight]:
    """Dense networks: coarse times and few prices make ties and connections of exactly the limits common.

    The flights come from a seed; drawn one by one, hardly any would connect.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([12, 24, 36, 48, 3, 0]))
    last = draw(st.sampled_from([8, 20, 40, 0]))
    # Off the grid: whole minutes and exact limits are then just missed, or not.
    jitters = draw(st.sampled_from([[0], [0] * 9 + [1, -1, 30_000_000]]))
    prices = draw(st.sampled_from([[100], [0, 100, 100, 250]]))
    names = rng.sample(range(size), size)
    return [
        flight(
            f"{rng.choice(CARRIERS)}{name}",
            *rng.choice(PAIRS),
            NOON + GRID * rng.randint(-16, last) + MICROSECOND * rng.choice(jitters),
            GRID * rng.randint(1, 8) + MICROSECOND * rng.choice(jitters),
            rng.choice(prices),
            rng.choice([0, 1, 2, 5, 9, 9, 9, 9]),
            rng.choice([FlightStatus.ACTIVE] * 9 + [FlightStatus.CANCELLED]),
        )
        for name in names
    ]


@settings(max_examples=800, deadline=None)
@given(
    flights=flight_lists(),
    ends=ENDS,
    seats=st.sampled_from([1, 1, 2, 3, 5, 6, 9]),
    max_hops=st.integers(1, 3),
    sort=st.sampled_from(SORTS),
    desc=st.booleans(),
    size=st.integers(1, 7),
    now=st.sampled_from([LONG_AGO, LONG_AGO, NOON - 6 * HOUR, NOON, NOON + MICROSECOND]),
    limits=st.sampled_from([(60, 360)] * 4 + [(0, 0), (30, 30), (0, 1440), (120, 60)]),
    wider=st.booleans(),
)
def test_find_gives_what_trying_everything_gives(flights, ends, seats, max_hops, sort, desc, size, now, limits, wider):
    shortest, longest = (timedelta(minutes=limit) for limit in limits)
    expected = oracle.search(
        flights,
        *ends,
        DAY,
        now=now,
        seats=seats,
        max_hops=max_hops,
        sort=sort,
        desc=desc,
        min_connection=shortest,
        max_connection=longest,
    )
    low, high = shortest // MICROSECOND, longest // MICROSECOND
    table = timetable(flights, *ends, *((0, 2 * MAX + high) if wider else (low, high)))
    table = unpack(pack(table))
    asked = query(
        seats=seats,
        max_hops=max_hops,
        sort=sort,
        desc=desc,
        size=size,
        now=to_microseconds(now),
        min_connection=low,
        max_connection=high,
    )
    counts = available(table, flights)
    pages = []
    for page in range(len(expected) // size + 2):
        total, found = find(table, counts, asked._replace(page=page))
        assert total == len(expected)
        assert len(found) == max(0, min(size, total - page * size))
        pages += [tuple(table.ids[i] for i in legs) for legs in found]
    assert pages == [tuple(f.flight_id for f in legs) for legs in expected]


def some_of(*values: object, least: int = 0, most: int = 1) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True).map(tuple)


CLOCKS = st.tuples(st.integers(0, 23), st.sampled_from([0, 29, 30, 31, 59])).map(lambda clock: time(*clock))


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """As the oracle takes them: seldom none, often several."""
    asked: dict[str, Any] = {
        "via": draw(some_of("AKL", "HNL", most=2)),
        "avoid": draw(some_of("AKL", "HNL")),
        "carriers": draw(some_of("6E", "AI", "AIX", most=2)),
        "max_price": draw(st.sampled_from([0, 99, 100, 200, 250, 300, 450, 10_000]).map(Decimal)),
        "max_duration": timedelta(minutes=draw(st.sampled_from([60, 120, 240, 450, 599, 600, 601, 900, 10_000]))),
        "depart_between": (draw(CLOCKS), draw(CLOCKS)),
    }
    kept = draw(st.sets(st.sampled_from(sorted(asked)), min_size=1, max_size=draw(st.sampled_from([1, 2, 2, 3, 6]))))
    return {name: asked[name] for name in sorted(kept)}


def typed(asked: dict[str, Any]) -> SearchFilters:
    """As a user types them."""
    texts = dict(asked)
    if "max_price" in asked:
        texts["max_price"] = str(asked["max_price"])
    if "max_duration" in asked:
        texts["max_duration"] = "{}h{}m".format(*divmod(asked["max_duration"] // timedelta(minutes=1), 60))
    if "depart_between" in asked:
        texts["depart_between"] = "-".join(f"{clock:%H:%M}" for clock in asked["depart_between"])
    return SearchFilters(**texts)


@settings(max_examples=700, deadline=None)
@given(
    flights=flight_lists(),
    asked=filters(),
    seats=st.sampled_from([1, 1, 1, 2, 5]),
    max_hops=st.sampled_from([1, 2, 3, 3, 3]),
    sort=st.sampled_from(SORTS),
    desc=st.booleans(),
    size=st.integers(1, 7),
)
def test_filters_leave_what_trying_everything_leaves(flights, asked, seats, max_hops, sort, desc, size):
    wanted = {"seats": seats, "max_hops": max_hops, "sort": sort, "desc": desc}
    passing = {**asked, "zone": ZoneInfo(ZONES["DEL"])}
    expected = oracle.search(flights, "DEL", "LHR", DAY, now=LONG_AGO, filters=passing, **wanted)
    table = timetable(flights, "DEL", "LHR")
    filtered = query(**wanted, size=size, filters=parse(typed(asked), "DEL", "LHR"))
    pages = []
    for page in range(len(expected) // size + 2):
        total, found = find(table, available(table, flights), filtered._replace(page=page))
        assert total == len(expected)
        pages += [tuple(table.ids[i] for i in legs) for legs in found]
    assert pages == [tuple(f.flight_id for f in legs) for legs in expected]


@settings(max_examples=300, deadline=None)
@given(flight_lists(), ENDS)
def test_a_timetable_has_just_the_flights_of_its_itineraries(flights, ends):
    table = timetable(flights, *ends)
    needed = {f.flight_id: f for legs in oracle.valid_itineraries(flights, *ends, DAY) for f in legs}
    assert sorted(table.ids) == sorted(needed)
    columns = zip(
        table.ids, table.sources, table.destinations, table.departures, table.arrivals, table.prices, strict=True
    )
    assert sorted(columns) == sorted(row(f) for f in needed.values())


def network(seed: int, size: int, between: int) -> list[Flight]:
    """Two days of flights among DEL, LHR and ``between`` other airports."""
    rng = random.Random(seed)
    airports = ["DEL", "LHR", *(f"H{n}" for n in range(between))]
    flights = []
    for n in range(size):
        a, b = rng.sample(airports, 2)
        departure = NOON - 12 * HOUR + timedelta(minutes=5 * rng.randrange(24 * 24), seconds=rng.choice([0, 0, 0, 20]))
        lasting = timedelta(minutes=15 * rng.randint(2, 20))
        seats = rng.choice([0, 1, 3, 9, 9, 9])
        flights.append(flight(f"{rng.choice('AZ')}{n}", a, b, departure, lasting, 50 * rng.randint(1, 9), seats))
    return flights


DEEP = {
    "all": {},
    "limits": {"max_price": Decimal(900), "max_duration": timedelta(hours=14)},
    "airports": {"via": ("H1",), "avoid": ("H2",)},
}


@pytest.mark.parametrize("asked", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize(("size", "between", "seats"), [(1500, 3, 2), (3500, 9, 1)])
def test_deep_pages_of_a_large_network(size, between, seats, asked, monkeypatch):
    monkeypatch.setattr(search_filters, "airport", lambda code: SimpleNamespace(iata=code))
    flights = network(size, size, between)
    now = NOON - 9 * HOUR
    usable = [f for f in flights if f.available_seats >= seats and f.departure_time > now]
    every = oracle.valid_itineraries(usable, "DEL", "LHR", DAY)
    valid = [legs for legs in every if oracle.passes(legs, **asked)]
    assert len(every) > 2000
    assert len(valid) > (200 if asked else 2000)
    filtered = parse(typed(asked), "DEL", "LHR")
    table = timetable(flights, "DEL", "LHR")
    counts = available(table, flights)
    for sort in SORTS:
        for desc in (False, True):
            expected = [tuple(f.flight_id for f in legs) for legs in oracle.ordered(valid, sort, desc)]
            last = (len(valid) - 1) // 20
            for page in {0, 1, 2, last // 4, last // 2, last // 2 + 1, last - 1, last, last + 1}:
                wanted = query(seats=seats, sort=sort, desc=desc, page=page, now=to_microseconds(now), filters=filtered)
                total, found = find(table, counts, wanted)
                assert total == len(valid)
                ids = [tuple(table.ids[i] for i in legs) for legs in found]
                assert ids == expected[page * 20 : page * 20 + 20], (sort, desc, page)


def test_thousands_of_equal_itineraries_are_paged_by_identifier():
    legs = [("DEL", "H1", NOON), ("H1", "H2", NOON + 4 * HOUR), ("H2", "LHR", NOON + 8 * HOUR)]
    flights = [flight(f"{a[0]}{b[0]}{n}", a, b, at) for a, b, at in legs for n in range(14)]
    expected = [
        "_".join(f.flight_id for f in found) for found in oracle.search(flights, "DEL", "LHR", DAY, now=LONG_AGO)
    ]
    assert len(expected) == 14**3
    table = timetable(flights, "DEL", "LHR")
    for page in (0, 60, 137):
        _, found = find(table, [9] * len(table), query(page=page))
        assert ["_".join(table.ids[i] for i in legs) for legs in found] == expected[page * 20 : page * 20 + 20]


@pytest.mark.parametrize(
    ("wait", "found"),
    [
        (HOUR - MICROSECOND, False),
        (HOUR, True),
        (6 * HOUR, True),
        (6 * HOUR + MICROSECOND, False),
    ],
)
def test_the_limits_of_a_connection_belong_to_it(wait, found):
    flights = [flight("A1", "DEL", "JFK", NOON), flight("B1", "JFK", "LHR", NOON + 2 * HOUR + wait)]
    assert answer(flights) == (["A1_B1"] if found else [])


def test_later_legs_may_leave_after_midnight_but_the_first_may_not():
    late = datetime(2026, 12, 1, 18, 29, tzinfo=UTC)  # 23:59 in Delhi
    onward = flight("B1", "JFK", "LHR", late + 4 * HOUR)
    assert answer([flight("A1", "DEL", "JFK", late), onward]) == ["A1_B1"]
    assert answer([flight("A1", "DEL", "JFK", late + timedelta(minutes=1)), onward]) == []


def test_crossing_the_date_line_backwards():
    morning = datetime(2026, 11, 30, 20, tzinfo=UTC)  # 09:00 on 1 December in Auckland
    flights = [flight("A1", "AKL", "HNL", morning, 8), flight("B1", "HNL", "JFK", morning + 10 * HOUR, 9)]
    assert flights[1].departure_date == date(2026, 11, 30)
    assert answer(flights, "AKL", "JFK") == ["A1_B1"]


def test_no_airport_is_visited_twice():
    flights = [
        flight("A1", "DEL", "JFK", NOON),
        flight("B1", "JFK", "DEL", NOON + 4 * HOUR),
        flight("C1", "DEL", "LHR", NOON + 9 * HOUR),
        flight("D1", "DEL", "LHR", NOON),
        flight("E1", "LHR", "JFK", NOON + 4 * HOUR),
        flight("F1", "JFK", "LHR", NOON + 9 * HOUR),
        flight("G1", "JFK", "JFK", NOON + 4 * HOUR),
    ]
    assert answer(flights, max_hops=3) == ["D1"]
    assert answer(flights, "DEL", "DEL") == []


def test_a_flight_leaving_now_is_gone():
    flights = [flight("A1", "DEL", "LHR", NOON)]
    assert answer(flights, now=to_microseconds(NOON)) == []
    assert answer(flights, now=to_microseconds(NOON - MICROSECOND)) == ["A1"]


def test_duration_is_compared_in_whole_minutes():
    second = timedelta(seconds=1)
    flights = [
        flight("A1", "DEL", "LHR", NOON, 2 * HOUR + 59 * second, price=200),
        flight("B1", "DEL", "LHR", NOON + second, 2 * HOUR, price=100),
        flight("C1", "DEL", "LHR", NOON, 2 * HOUR + 60 * second, price=50),
    ]
    assert answer(flights, sort="duration") == ["B1", "A1", "C1"]
    assert answer(flights, sort="duration", desc=True) == ["C1", "B1", "A1"]


def test_the_least_difference_in_a_key_outweighs_the_greatest_in_the_next():
    minute = timedelta(minutes=1)

    def first_of(sort: str, *flights: Flight) -> str:
        return answer(flights, sort=sort)[0]

    def direct(flight_id: str, departure: datetime, lasting: timedelta, cents: int) -> Flight:
        return replace(flight(flight_id, "DEL", "LHR", departure, lasting), price=Decimal(cents) / 100)

    cheap, dear = direct("B1", NOON, 9 * HOUR, 1), direct("A1", NOON, HOUR, 2)
    assert first_of("price", cheap, dear) == "B1"
    quick, slow = direct("B1", NOON + 3 * HOUR, HOUR, 5), direct("A1", NOON, HOUR + minute, 5)
    assert first_of("price", quick, slow) == "B1"
    early, late = direct("B1", NOON, 9 * HOUR, 9), direct("A1", NOON + MICROSECOND, HOUR, 0)
    assert first_of("departure", early, late) == "B1"
    legs = [("DEL", "JFK", 0), ("JFK", "AKL", 2), ("AKL", "LHR", 4)]
    three = [flight(f"B{at}", a, b, NOON + at * HOUR, HOUR, price=9) for a, b, at in legs]
    assert first_of("duration", *three, direct("A1", NOON, 5 * HOUR + minute, 0)) == "B0_B2_B4"


def test_find_refuses_what_it_cannot_answer():
    table = timetable([flight("A1", "DEL", "LHR", NOON)], "DEL", "LHR")
    for counts, asked in [
        ([], query()),
        ([9, 9], query()),
        ([9], query(max_hops=4)),
        ([9], query(max_hops=0)),
        ([9], query(page=-1)),
        ([9], query(size=0)),
        ([9], query(min_connection=MIN - 1)),
        ([9], query(max_connection=MAX + 1)),
    ]:
        with pytest.raises(ValueError):
            find(table, counts, asked)
    with pytest.raises(ValueError, match="negative"):
        timetable([flight("A1", "DEL", "LHR", NOON, price=-1)], "DEL", "LHR")


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_survive_exactly(moment):
    assert to_instant(to_microseconds(moment)) == moment


# Bytes


def survives(table: Timetable) -> None:
    """Whatever was read can be searched and shown."""
    for sort in SORTS:
        asked = query(sort=sort, min_connection=table.min_connection, max_connection=table.max_connection)
        total, page = find(table, [9] * len(table), asked._replace(now=-(10**18)))
        assert len(page) == min(20, total)
    for at in (*table.departures, *table.arrivals):
        to_instant(at)


def packed(body: bytes) -> bytes:
    """Sound around a body that may not be."""
    compressed = zlib.compress(body)
    rest = struct.pack("<I", len(body)) + compressed
    return b"FRT2" + struct.pack("<I", zlib.crc32(rest)) + rest


SAMPLE = pack(timetable(network(1, 90, 3), "DEL", "LHR"))
BODY = zlib.decompress(SAMPLE[12:])


def test_the_sample_is_worth_damaging():
    table = unpack(SAMPLE)
    assert table.first_count
    assert table.middle_count
    assert len(table) > table.first_count + table.middle_count
    assert unpack(packed(BODY)) == table


def test_an_empty_timetable_survives_packing():
    for ends in (("DEL", "LHR"), ("DEL", "DEL")):
        table = timetable([], *ends)
        assert len(table) == 0
        assert unpack(pack(table)) == table
        assert find(table, [], query()) == (0, [])


@given(st.binary(max_size=200))
@example(b"")
@example(b"FRT2")
def test_rubbish_is_refused(data):
    for rubbish in (data, b"FRT2" + data, SAMPLE[:12] + data, SAMPLE + data + b"\0"):
        with pytest.raises(ValueError):
            unpack(rubbish)


@given(st.binary(max_size=300))
def test_rubbish_with_a_good_checksum_is_refused(data):
    for rubbish in (data, BODY + data + b"\0", BODY[:36] + data):
        with pytest.raises(ValueError):
            unpack(packed(rubbish))


def test_every_truncation_is_refused():
    for end in range(len(SAMPLE)):
        with pytest.raises(ValueError):
            unpack(SAMPLE[:end])
    for end in range(len(BODY)):
        with pytest.raises(ValueError):
            unpack(packed(BODY[:end]))


def test_every_flipped_bit_is_refused():
    for bit in range(8 * len(SAMPLE)):
        damaged = bytearray(SAMPLE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            unpack(bytes(damaged))


def test_flipped_bits_under_a_good_checksum_leave_something_that_can_be_searched():
    read = 0
    for bit in range(8 * len(BODY)):
        damaged = bytearray(BODY)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            table = unpack(packed(bytes(damaged)))
        except ValueError:
            continue
        read += 1
        survives(table)
    assert read  # a price can be anything, so the test has tested something


def changed(column: list, position: int, value: object) -> list:
    return [*column[:position], value, *column[position + 1 :]]


@pytest.mark.parametrize(
    ("column", "position", "value"),
    [
        ("ids", 0, ""),
        ("destinations", 0, "DEL"),
        ("sources", 1, "DEL"),
        ("sources", 1, "LHR"),
        ("sources", 1, "HNL"),
        ("destinations", 1, "LHR"),
        ("sources", 3, "LHR"),
        ("departures", 2, 0),
        ("departures", 4, 0),
        ("prices", 1, -1),
        ("departures", 0, -(2**62)),
        ("arrivals", 0, 2**62),
    ],
)
def test_an_impossible_flight_is_refused(column, position, value):
    legs = [("DEL", "AKL", 0), ("AKL", "HNL", 4), ("AKL", "HNL", 5), ("HNL", "LHR", 8), ("HNL", "LHR", 9)]
    table = timetable([flight(f"A{n}", a, b, NOON + n * HOUR) for a, b, n in legs], "DEL", "LHR")
    assert (len(table), table.middle_count) == (5, 2)
    wrong = replace(table, **{column: changed(getattr(table, column), position, value)})
    with pytest.raises(ValueError):
        unpack(pack(wrong))


def test_a_claim_of_much_data_is_refused_before_it_is_believed():
    body = struct.pack("<qq5I", MIN, MAX, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    bomb = zlib.compress(bytes(200 * 2**20), 9)
    for rest in (struct.pack("<I", 2**32 - 1) + bomb, struct.pack("<I", 100) + bomb):
        with pytest.raises(ValueError):
            unpack(b"FRT2" + struct.pack("<I", zlib.crc32(rest)) + rest)
    with pytest.raises(ValueError):
        unpack(packed(body))


def test_what_cannot_be_read_back_is_not_packed():
    with pytest.raises(ValueError, match="two lines"):
        pack(timetable([flight("A\n1", "DEL", "LHR", NOON)], "DEL", "LHR"))
    table = timetable([flight("A1", "DEL", "LHR", NOON)], "DEL", "LHR")
    with pytest.raises(ValueError, match="cannot be packed"):
        pack(replace(table, prices=[2**63]))


# Connections of a given itinerary


def reason(*legs: Flight) -> str | None:
    return check_connection([row(f)[:5] for f in legs], MIN, MAX)


def test_reasons_against_an_itinerary():
    first, second = flight("A1", "DEL", "JFK", NOON), flight("B1", "JFK", "LHR", NOON + 4 * HOUR)
    third = flight("C1", "LHR", "HNL", NOON + 8 * HOUR)
    assert reason(first) is None
    assert reason(first, second) is None
    assert reason(first, second, third) is None
    assert "leaves from LHR, but A1 arrives at JFK" in reason(first, third)
    assert "leaves before" in reason(first, flight("B2", "JFK", "LHR", NOON))
    short = flight("B3", "JFK", "LHR", NOON + 3 * HOUR - timedelta(milliseconds=500))
    assert "is 59 min 59.5 s; at least 60 min" in reason(first, short)
    assert "at most 360 min" in reason(first, flight("B4", "JFK", "LHR", NOON + 9 * HOUR))
    assert "returns to DEL" in reason(first, flight("B5", "JFK", "DEL", NOON + 4 * HOUR))
    assert "returns to JFK" in reason(flight("A2", "JFK", "JFK", NOON))
    assert "1 to 3 flights, not 4" in reason(first, second, third, third)
    assert "1 to 3 flights, not 0" in reason()


@settings(max_examples=150, deadline=None)
@given(flight_lists())
def test_connections_are_good_exactly_when_a_search_finds_them(flights):
    flights = flights[:10]
    every = [legs for n in (1, 2, 3) for legs in permutations(flights, n)]
    good = {tuple(f.flight_id for f in legs) for legs in every if reason(*legs) is None}
    found = {
        tuple(f.flight_id for f in legs)
        for source in AIRPORTS
        for destination in AIRPORTS
        for day in {f.departure_date for f in flights}
        for legs in oracle.valid_itineraries(flights, source, destination, day)
    }
    assert good == found
