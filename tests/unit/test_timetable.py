import csv
import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightctl.core.errors import FlightctlError, UnknownAirportError, ValidationError
from flightctl.core.network import airport, distance_km, zone
from flightctl.core.resources import resource
from flightctl.core.timetable import Schedule, ScheduledFlight, build_flight, default_fare, expand, read_schedule
from flightctl.core.timetable_csv import COLUMNS

HEADER = ",".join(COLUMNS)
GOOD = {
    "carrier": "6E",
    "flight_number": "203",
    "origin": "DEL",
    "destination": "BOM",
    "departure_local": "06:00",
    "arrival_local": "08:10",
    "arrival_day_offset": "0",
    "days_of_operation": "1234567",
    "valid_from": "",
    "valid_to": "",
    "aircraft_or_seats": "186",
    "price": "4999.50",
}
Load = Callable[..., Schedule]


def line(**changes: str) -> str:
    return ",".join({**GOOD, **changes}.values())


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_read(*lines: str, header: str = HEADER) -> Schedule:
        path = tmp_path / "schedule.csv"
        path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
        return read_schedule(path)

    return write_and_read


def one(load: Load, on: date, **changes: str) -> ScheduledFlight:
    schedule = load(line(**changes))
    assert schedule.rejected == ()
    (flight,) = expand(schedule, on, 1)
    return flight


# --- reading ---------------------------------------------------------------------------------------------------------


def test_good_row(load: Load) -> None:
    schedule = load(line(carrier="6e", origin=" del ", flight_number="0203", valid_from="2026-06-01"))
    (row,) = schedule.rows
    assert (row.line, row.carrier, row.flight_number, row.origin) == (2, "6E", "203", "DEL")
    assert (row.departure_local, row.arrival_local, row.days) == (time(6), time(8, 10), frozenset(range(1, 8)))
    assert (row.valid_from, row.valid_to) == (date(2026, 6, 1), None)
    assert (row.seats, row.price) == (186, Decimal("4999.50"))
    assert schedule.airports == {"DEL", "BOM"}
    assert schedule.rejected == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"origin": "XQZ"}, "unknown origin airport 'XQZ'"),
        ({"destination": "DELHI"}, "unknown destination airport 'DELHI'"),
        ({"destination": "DEL"}, "origin and destination are both DEL"),
        ({"departure_local": "24:00"}, "departure_local '24:00' is not a time"),
        ({"departure_local": "6h"}, "departure_local"),
        ({"departure_local": ""}, "departure_local"),
        ({"arrival_local": "08:60"}, "arrival_local '08:60'"),
        ({"arrival_local": "٠٨:10"}, "arrival_local"),
        ({"arrival_day_offset": "3"}, "arrival_day_offset '3'"),
        ({"arrival_day_offset": "-2"}, "arrival_day_offset '-2'"),
        ({"arrival_day_offset": ""}, "arrival_day_offset"),
        ({"arrival_day_offset": "x"}, "arrival_day_offset"),
        ({"days_of_operation": "128"}, "days_of_operation '128'"),
        ({"days_of_operation": "0"}, "days_of_operation"),
        ({"days_of_operation": "11"}, "days_of_operation '11'"),
        ({"days_of_operation": ""}, "days_of_operation"),
        ({"valid_from": "01.06.2026"}, "valid_from '01.06.2026' is not a date"),
        ({"valid_from": "2026-W01-1"}, "valid_from"),
        ({"valid_to": "2026-02-30"}, "valid_to '2026-02-30'"),
        ({"valid_from": "2026-06-02", "valid_to": "2026-06-01"}, "valid_from 2026-06-02 is after valid_to 2026-06-01"),
        ({"aircraft_or_seats": "0"}, "seats must be 1 to 999, not 0"),
        ({"aircraft_or_seats": "-5"}, "seats must be"),
        ({"aircraft_or_seats": "1000"}, "seats must be"),
        ({"aircraft_or_seats": "180.5"}, "neither a number of seats nor a known aircraft type"),
        ({"aircraft_or_seats": "UFO"}, "'UFO' is neither"),
        ({"price": "-1"}, "price '-1' is negative"),
        ({"price": "10.005"}, "more than two decimals"),
        ({"price": "1e3"}, "price '1e3' is not an amount"),
        ({"price": "NaN"}, "is not an amount"),
        ({"price": "10000000"}, "more than 9999999.99"),
        ({"carrier": "6"}, "carrier '6'"),
        ({"carrier": "INDIGO"}, "carrier 'INDIGO'"),
        ({"carrier": "6_"}, "carrier '6_'"),
        ({"carrier": "AB1"}, "carrier 'AB1'"),
        ({"flight_number": "12345"}, "flight number '12345'"),
        ({"flight_number": ""}, "flight number ''"),
        ({"flight_number": "A"}, "flight number 'A'"),
        ({"flight_number": "0"}, "flight number '0'"),
        ({"flight_number": "12AB"}, "flight number '12AB'"),
        ({"arrival_local": "06:00"}, "arrive before or when it departs"),
        ({"arrival_local": "05:00"}, "arrive before or when it departs"),
        ({"arrival_day_offset": "-1"}, "arrive before or when it departs"),
        ({"arrival_day_offset": "2"}, "more than 48 hours"),
        ({"valid_from": "9999-12-31", "arrival_day_offset": "1"}, "validity is out of range"),
        ({"price": "9" * 5000}, "price 9999"),
        ({"price": "1,2"}, "too many columns: 13 instead of 12"),
        ({"carrier": '"6E'}, "not CSV"),
    ],
)
def test_bad_row_is_rejected_whole_and_alone(load: Load, changes: dict[str, str], reason: str) -> None:
    schedule = load(line(flight_number="1"), line(**changes), line(flight_number="2"))
    assert [row.flight_number for row in schedule.rows] == ["1", "2"]
    (rejected,) = schedule.rejected
    assert rejected.line == 3
    assert reason in rejected.reason
    assert "\n" not in rejected.reason
    assert len(rejected.reason) <= 200


def test_too_few_columns(load: Load) -> None:
    (rejected,) = load("6E,203,DEL").rejected
    assert rejected.reason == "too few columns: 3 instead of 12"


@pytest.mark.parametrize(
    "changes",
    [
        {"aircraft_or_seats": "1"},
        {"aircraft_or_seats": "999"},
        {"price": "0"},
        {"price": "9999999.99"},
        {"flight_number": "9999a"},
        {"carrier": "WSG"},
        {"departure_local": "6:00"},
        {"valid_from": "2026-06-01", "valid_to": "2026-06-01"},
        {"arrival_local": "05:59", "arrival_day_offset": "2"},
    ],
)
def test_limits_are_inside(load: Load, changes: dict[str, str]) -> None:
    assert load(line(**changes)).rejected == ()


@pytest.mark.parametrize(
    ("text", "seats"),
    [("", 180), ("77", 77), ("320", 320), ("32A", 180), ("73H", 189), ("at7", 72), ("77W", 350), (" 186 ", 186)],
)
def test_seats_from_number_or_aircraft(load: Load, text: str, seats: int) -> None:
    assert load(line(aircraft_or_seats=text)).rows[0].seats == seats


def test_price_from_the_distance(load: Load) -> None:
    price = load(line(price="")).rows[0].price
    assert price == default_fare("DEL", "BOM") == default_fare("BOM", "DEL")
    assert str(price) == str(round(1500 + 3.25 * round(distance_km("DEL", "BOM")))) + ".00"
    assert default_fare("DEL", "JFK") > price


def test_duplicate_names_the_earlier_line(load: Load) -> None:
    schedule = load(line(), line(flight_number="0203", carrier="6e", destination="GOI"))
    assert len(schedule.rows) == 1
    assert schedule.rejected[0].line == 3
    assert schedule.rejected[0].reason.startswith("repeats line 2: 6E203 from DEL")


@pytest.mark.parametrize(
    "other",
    [
        {"valid_from": "2026-07-01"},
        {"days_of_operation": "567", "valid_from": "2026-06-01"},
        {"origin": "MAA", "destination": "HYD"},
    ],
)
def test_no_duplicate_without_a_common_day(load: Load, other: dict[str, str]) -> None:
    first = line(days_of_operation="1234", valid_to="2026-06-30")
    assert load(first, line(**other)).rejected == ()


def test_a_rejected_row_is_no_earlier_one(load: Load) -> None:
    schedule = load(line(price="x"), line())
    assert [row.line for row in schedule.rows] == [3]


def test_bom_crlf_blank_lines_quotes_and_a_loose_header(tmp_path: Path) -> None:
    path = tmp_path / "schedule.csv"
    header = ", ".join(name.replace("_", " ").title() for name in COLUMNS)
    quoted = ",".join(f'"{value}"' for value in GOOD.values())
    path.write_bytes(f"\ufeff\r\n{header}\r\n\r\n{quoted}\r\n  \r\n,,,,,,,,,,,\r\n{line(origin='X')}\r\n".encode())
    schedule = read_schedule(path)
    assert [row.line for row in schedule.rows] == [4]
    assert [bad.line for bad in schedule.rejected] == [7]


def test_columns_in_any_order(load: Load) -> None:
    reverse = ",".join(reversed(COLUMNS))
    assert load(",".join(reversed(GOOD.values())), header=reverse).rows[0].origin == "DEL"


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "schedule.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{line()}\n".encode()))
    assert len(read_schedule(path).rows) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not UTF-8 text"),
        ("carrier".encode("utf-16"), "is not UTF-8 text"),
        (b"a\0b", "is not UTF-8 text"),
        (b"\x1f\x8b\x08rubbish", "damaged gzip"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "damaged gzip"),
        (b"carrier,flight_number\n6E,203\n", "lacks columns: origin, destination"),
        (b"Dear all,\nour winter schedule\n", "none of the columns"),
        (HEADER.encode() + b",price\n", "has the column price more than once"),
        (b'"carrier\n', "not CSV"),
    ],
)
def test_unusable_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "schedule.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        read_schedule(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_directory_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        read_schedule(tmp_path)


# --- expanding -------------------------------------------------------------------------------------------------------


def test_flight_of_a_row(load: Load) -> None:
    flight = one(load, date(2026, 12, 1))
    assert flight.flight_id == "6E203-20261201"
    assert flight.departure_time == datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
    assert flight.arrival_time == datetime(2026, 12, 1, 2, 40, tzinfo=UTC)
    assert flight.departure_time.tzinfo is UTC
    assert flight.arrival_time.tzinfo is UTC
    assert (flight.departure_date, flight.seats, flight.price) == (date(2026, 12, 1), 186, Decimal("4999.50"))


def test_departure_date_is_local(load: Load) -> None:
    flight = one(load, date(2026, 12, 1), departure_local="02:00", arrival_local="04:10")
    assert flight.departure_time.date() == date(2026, 11, 30)
    assert flight.departure_date == date(2026, 12, 1)
    assert flight.flight_id.endswith("-20261201")


def test_weekdays_and_validity_are_inclusive(load: Load) -> None:
    row = line(days_of_operation="17", valid_from="2026-06-07", valid_to="2026-06-15")
    dates = [flight.departure_date.isoformat() for flight in expand(load(row), date(2026, 5, 25), 60)]
    assert dates == ["2026-06-07", "2026-06-08", "2026-06-14", "2026-06-15"]


@pytest.mark.parametrize(
    ("origin", "destination", "departs", "arrives", "offset", "hours"),
    [
        ("NRT", "HNL", "00:30", "13:00", "-1", 7.5),
        ("SYD", "LAX", "10:00", "06:00", "0", 13.0),
        ("LAX", "SYD", "22:30", "06:30", "2", 15.0),
        ("DEL", "DXB", "23:30", "01:30", "1", 3.5),
        ("APW", "PPG", "09:00", "10:00", "-1", 1.0),
    ],
)
def test_day_offsets(
    load: Load, origin: str, destination: str, departs: str, arrives: str, offset: str, hours: float
) -> None:
    flight = one(
        load,
        date(2026, 7, 1),
        origin=origin,
        destination=destination,
        departure_local=departs,
        arrival_local=arrives,
        arrival_day_offset=offset,
    )
    assert flight.arrival_time - flight.departure_time == timedelta(hours=hours)


NEW_YORK = {"origin": "JFK", "destination": "MIA"}


@pytest.mark.parametrize(
    ("route", "on", "departs", "utc"),
    [
        (NEW_YORK, date(2026, 3, 8), "01:59", "06:59"),
        (NEW_YORK, date(2026, 3, 8), "02:30", "07:30"),  # skipped: becomes 03:30 EDT
        (NEW_YORK, date(2026, 3, 8), "03:00", "07:00"),
        (NEW_YORK, date(2026, 11, 1), "00:59", "04:59"),
        (NEW_YORK, date(2026, 11, 1), "01:30", "05:30"),  # twice: the first, EDT
        (NEW_YORK, date(2026, 11, 1), "02:00", "07:00"),
        ({"origin": "LHR", "destination": "JFK"}, date(2026, 3, 29), "01:30", "01:30"),  # becomes 02:30 BST
        ({"origin": "LHR", "destination": "JFK"}, date(2026, 10, 25), "01:30", "00:30"),
        ({"origin": "LHR", "destination": "JFK"}, date(2026, 10, 25), "02:00", "02:00"),
    ],
)
def test_departures_around_clock_changes(load: Load, route: dict[str, str], on: date, departs: str, utc: str) -> None:
    flight = one(load, on, **route, departure_local=departs, arrival_local="12:00")
    assert f"{flight.departure_time:%Y-%m-%d %H:%M}" == f"{on} {utc}"


def test_arrival_follows_the_clocks_of_the_destination(load: Load) -> None:
    route = {"origin": "DEL", "destination": "LHR", "departure_local": "02:00", "arrival_local": "06:30"}
    before, after = expand(load(line(**route)), date(2026, 3, 28), 2)
    assert before.arrival_time.hour == 6
    assert after.arrival_time.hour == 5


def test_a_flight_over_the_gap_never_arrives_before_it_departs(load: Load) -> None:
    # On 8 March 2026 02:20 does not exist and becomes 03:20 EDT, which is after 03:00 EDT.
    schedule = load(line(origin="JFK", destination="BOS", departure_local="02:20", arrival_local="03:00"))
    usual, changed = expand(schedule, date(2026, 3, 7), 2)
    assert usual.arrival_time - usual.departure_time == timedelta(minutes=40)
    assert changed.departure_time == datetime(2026, 3, 8, 7, 20, tzinfo=UTC)
    assert changed.arrival_time - changed.departure_time == timedelta(minutes=40)


def test_a_row_made_for_summer_flies_in_winter_too(load: Load) -> None:
    # Phoenix has no summer time: at its offset of winter this flight would land ten minutes before it departs.
    row = line(origin="ABQ", destination="PHX", departure_local="10:00", arrival_local="09:50")
    summer = next(expand(load(row), date(2026, 7, 1), 1))
    winter = next(expand(load(row), date(2026, 12, 1), 1))
    assert summer.arrival_time - summer.departure_time == timedelta(minutes=50)
    assert winter.arrival_time - winter.departure_time == timedelta(minutes=50)


def test_legs_of_one_number_have_the_origin_in_their_id(load: Load) -> None:
    second = line(
        origin="BOM", destination="GOI", departure_local="09:00", arrival_local="10:10", days_of_operation="1"
    )
    monday, tuesday = date(2026, 11, 30), date(2026, 12, 1)
    schedule = load(line(), second)
    assert [f.flight_id for f in expand(schedule, monday, 1)] == ["6E203-20261130-DEL", "6E203-20261130-BOM"]
    assert [f.flight_id for f in expand(schedule, tuesday, 1)] == ["6E203-20261201"]


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 20))
def test_flights_do_not_hang_on_the_range(skip: int, days: int) -> None:
    schedule = read_schedule(resource("seed_data/demo.csv"))
    start = date(2026, 12, 1)
    last = start + timedelta(days=skip + days - 1)
    whole = [f for f in expand(schedule, start, 40) if start + timedelta(days=skip) <= f.departure_date <= last]
    assert list(expand(schedule, start + timedelta(days=skip), days)) == whole


@pytest.mark.parametrize(
    ("start", "days"), [(date.min, 1), (date.max, 1), (date(2026, 1, 1), 10**9), (date(9990, 1, 1), 9999)]
)
def test_dates_without_neighbours_are_refused(load: Load, start: date, days: int) -> None:
    with pytest.raises(ValidationError, match="out of range"):
        list(expand(load(line()), start, days))


def test_nothing_for_no_days(load: Load) -> None:
    assert list(expand(load(line()), date(2026, 12, 1), 0)) == []


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["JFK", "LHR", "SYD", "DEL", "CMN", "HAV", "LDH", "PHX", "APW", "BEY", "TRO"]),
    st.sampled_from(["LAX", "CDG", "AKL", "GOI", "CAI", "SCL", "DNH", "ABQ", "PPG", "IKA", "OOL"]),
    st.times().map(lambda at: at.strftime("%H:%M")),
    st.times().map(lambda at: at.strftime("%H:%M")),
    st.integers(-1, 2).map(str),
)
def test_every_accepted_row_flies_forward_on_every_date(
    tmp_path_factory: pytest.TempPathFactory, origin: str, destination: str, departs: str, arrives: str, offset: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / "schedule.csv"
    row = line(
        origin=origin,
        destination=destination,
        departure_local=departs,
        arrival_local=arrives,
        arrival_day_offset=offset,
    )
    path.write_text(f"{HEADER}\n{row}\n", encoding="utf-8")
    schedule = read_schedule(path)
    flights = list(expand(schedule, date(2026, 1, 1), 366))
    assert len(flights) == 366 * len(schedule.rows)
    assert len(schedule.rows) + len(schedule.rejected) == 1
    for flight in flights:
        assert timedelta(0) < flight.arrival_time - flight.departure_time <= timedelta(hours=50)
        local = datetime.combine(flight.departure_date, schedule.rows[0].departure_local)
        assert flight.departure_time == local.replace(tzinfo=zone(origin)).astimezone(UTC)


# --- one flight by hand ----------------------------------------------------------------------------------------------

DEPARTURE, ARRIVAL = datetime(2026, 12, 1, 6), datetime(2026, 12, 1, 8, 10)


@pytest.mark.parametrize(
    ("given_id", "flight_id"),
    [
        ("6E203", "6E203-20261201"),
        ("6e0203", "6E203-20261201"),
        ("6E203-20261201", "6E203-20261201"),
        ("6E203-20261201-del", "6E203-20261201-DEL"),
        ("WSG12a", "WSG12A-20261201"),
    ],
)
def test_build_flight(given_id: str, flight_id: str) -> None:
    flight = build_flight(given_id, "del", "BOM", DEPARTURE, ARRIVAL, 186, Decimal("4999.5"))
    assert flight.flight_id == flight_id
    assert (flight.source, flight.destination, flight.departure_date) == ("DEL", "BOM", date(2026, 12, 1))
    assert flight.departure_time == datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
    assert str(flight.price) == "4999.50"


def test_build_flight_is_the_flight_of_the_schedule(load: Load) -> None:
    assert one(load, date(2026, 12, 1)) == build_flight(
        "6E203", "DEL", "BOM", DEPARTURE, ARRIVAL, 186, Decimal("4999.5")
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flight_number_or_id": "6E_203"}, "is not a number such as"),
        ({"flight_number_or_id": ""}, "is not a number such as"),
        ({"flight_number_or_id": "6E203-20261202"}, "another date"),
        ({"flight_number_or_id": "6E203-20261201-GOI"}, "another origin"),
        ({"flight_number_or_id": "12345"}, "carrier"),
        ({"destination": "DEL"}, "both DEL"),
        ({"seats": 0}, "seats must be 1 to 999"),
        ({"seats": 1000}, "seats must be 1 to 999"),
        ({"price": Decimal("-0.01")}, "zero or more"),
        ({"price": Decimal("NaN")}, "zero or more"),
        ({"price": Decimal("1.005")}, "two decimals"),
        ({"price": Decimal("1E30")}, "more than 9999999.99"),
        ({"arrival_local": DEPARTURE}, "arrive before or when it departs"),
        ({"arrival_local": DEPARTURE + timedelta(hours=48, minutes=1)}, "more than 48 hours"),
        ({"departure_local": DEPARTURE.replace(tzinfo=UTC)}, "without an offset"),
        ({"departure_local": datetime.min}, "out of range"),
    ],
)
def test_build_flight_refuses(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "flight_number_or_id": "6E203",
        "source": "DEL",
        "destination": "BOM",
        "departure_local": DEPARTURE,
        "arrival_local": ARRIVAL,
        "seats": 186,
        "price": Decimal(1),
    }
    with pytest.raises(ValidationError, match=message):
        build_flight(**{**arguments, **changes})  # type: ignore[arg-type]


def test_build_flight_unknown_airport() -> None:
    with pytest.raises(UnknownAirportError):
        build_flight("6E203", "DEL", "XQZ", DEPARTURE, ARRIVAL, 1, Decimal(1))
    assert issubclass(UnknownAirportError, FlightctlError)


# --- the datasets ----------------------------------------------------------------------------------------------------

MONDAY = date(2026, 12, 7)


@pytest.mark.parametrize(("name", "least", "most"), [("demo", 90, 115), ("india", 2300, 2500)])
def test_datasets(name: str, least: int, most: int) -> None:
    schedule = read_schedule(resource(f"seed_data/{name}.csv"))
    assert schedule.rejected == ()
    for code in schedule.airports:
        assert airport(code).country == "IN"
    flights = list(expand(schedule, MONDAY, 7))
    per_day = Counter(flight.departure_date for flight in flights)
    assert len(per_day) == 7
    assert all(least <= count <= most for count in per_day.values()), per_day
    assert len({flight.flight_id for flight in flights}) == len(flights)
    assert not any("_" in flight.flight_id for flight in flights)
    assert all(timedelta(minutes=30) <= f.arrival_time - f.departure_time < timedelta(hours=6) for f in flights)


def test_demo_is_part_of_india() -> None:
    def rows(name: str) -> set[tuple[str, ...]]:
        with resource(f"seed_data/{name}.csv").open(encoding="utf-8", newline="") as file:
            return {tuple(row) for row in csv.reader(file)}

    assert rows("demo") < rows("india")


def test_demo_flies_every_pair_of_its_cities_every_day() -> None:
    schedule = read_schedule(resource("seed_data/demo.csv"))
    cities = {"DEL", "BOM", "BLR", "HYD", "MAA", "CCU", "GOI"}
    assert schedule.airports == cities
    pairs = {(one, two) for one in cities for two in cities if one != two}
    for ahead in range(7):
        flights = list(expand(schedule, MONDAY + timedelta(days=ahead), 1))
        assert {(flight.source, flight.destination) for flight in flights} == pairs


def test_demo_has_delhi_to_bangalore_all_day() -> None:
    flights = expand(read_schedule(resource("seed_data/demo.csv")), MONDAY, 1)
    hours = sorted(f.departure_time.hour for f in flights if (f.source, f.destination) == ("DEL", "BLR"))
    assert len(hours) >= 3
    assert hours[-1] - hours[0] >= 8


def connections(path: list[ScheduledFlight], flights: list[ScheduledFlight]) -> list[list[ScheduledFlight]]:
    last, seen = path[-1], {flight.source for flight in path} | {path[-1].destination}
    least, most = timedelta(hours=1), timedelta(hours=6)
    return [
        [*path, following]
        for following in flights
        if following.source == last.destination
        and following.destination not in seen
        and least <= following.departure_time - last.arrival_time <= most
    ]


def test_demo_goes_from_delhi_to_goa_in_one_two_and_three_legs() -> None:
    flights = list(expand(read_schedule(resource("seed_data/demo.csv")), MONDAY, 2))
    one_leg = [[f] for f in flights if f.source == "DEL" and f.departure_date == MONDAY]
    two_legs = [path for start in one_leg for path in connections(start, flights)]
    three_legs = [path for start in two_legs for path in connections(start, flights)]
    for paths in (one_leg, two_legs, three_legs):
        assert any(path[-1].destination == "GOI" for path in paths)
