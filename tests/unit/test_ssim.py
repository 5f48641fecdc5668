"""SSIM chapter 7: what a leg's columns mean, and which files are not to be trusted."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from flightctl.core.aircraft import seats_of_configuration
from flightctl.core.errors import ValidationError
from flightctl.core.timetable import Schedule, ScheduledFlight, expand, read_schedule
from tests.ssim import PADDING, about, columns, leg, ssim

Load = Callable[..., Schedule]
SAMPLE = Path(__file__).parents[1] / "data" / "sample.ssim"
DECEMBER = date(2026, 12, 1)  # a Tuesday


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_read(*records: str, mode: str = "L", **more: Any) -> Schedule:
        path = tmp_path / "schedule.ssim"
        path.write_text(ssim(records, mode, **more), encoding="latin-1")
        return read_schedule(path)

    return write_and_read


def flights(schedule: Schedule, start: date = DECEMBER, days: int = 31) -> list[ScheduledFlight]:
    assert schedule.rejected == ()
    return list(expand(schedule, start, days))


def days_of(found: Sequence[ScheduledFlight]) -> list[int]:
    return [flight.departure_date.day for flight in found]


def test_a_genuine_file() -> None:
    schedule = read_schedule(SAMPLE)
    assert (len(schedule.rows), schedule.rejected, schedule.codeshares, schedule.notes) == (514, (), 0, ())
    on_the_day = {flight.flight_id: flight for flight in expand(schedule, date(2005, 6, 9), 1)}
    out, back = on_the_day["XX41-20050609"], on_the_day["XX42-20050609"]
    assert (out.source, out.destination, out.seats) == ("RUN", "DZA", 130)
    assert out.departure_time == datetime(2005, 6, 9, 17, 30, tzinfo=UTC)
    assert out.arrival_time == datetime(2005, 6, 9, 19, 40, tzinfo=UTC)
    assert back.arrival_time == datetime(2005, 6, 9, 22, 30, tzinfo=UTC)  # 02:30 on Réunion, no variation given
    assert sum(flight.flight_number == "777A" for flight in expand(schedule, date(2005, 5, 27), 1)) == 1


def test_a_gzipped_file_and_one_with_line_ends_of_windows(tmp_path: Path) -> None:
    data = SAMPLE.read_bytes()
    for name, content in {"a": gzip.compress(data), "b": data.replace(b"\n", b"\r\n"), "c": data + b"\x1a"}.items():
        (tmp_path / name).write_bytes(content)
        assert read_schedule(tmp_path / name) == read_schedule(SAMPLE)


def test_a_leg(load: Load) -> None:
    (row,) = load(leg("0203", suffix="A", days="1 3 5  ", dates="01DEC2600XXX00")).rows
    assert (row.carrier, row.flight_number, row.origin, row.destination) == ("6E", "203A", "DEL", "BOM")
    assert (row.valid_from, row.valid_to, sorted(row.days)) == (DECEMBER, None, [1, 3, 5])
    assert (row.seats, row.names_seats, row.names_price) == (180, True, False)


@pytest.mark.parametrize(
    ("config", "kind", "seats", "named"),
    [
        ("W18Y112VV112", "733", 130, True),
        ("J14W34Y316VV364", "772", 364, True),
        ("F014Y119VVT3M33", "320", 133, True),
        ("W18Y112VVCGO", "733", 130, True),
        ("F32Y200K93PP20", "744", 325, True),
        ("Y150LL04", "320", 150, True),
        ("", "77W", 350, True),
        ("", "320", 180, True),
        ("FY", "319", 144, True),
        ("VV364", "AT7", 72, True),
        ("", "ZZZ", 180, False),
        ("", "   ", 180, False),
    ],
)
def test_seats(load: Load, config: str, kind: str, seats: int, named: bool) -> None:
    (row,) = load(leg(config=f"{config:<20}", type=kind)).rows
    assert (row.seats, row.names_seats) == (seats, named)


def test_a_configuration_that_is_too_long_for_its_columns(load: Load) -> None:
    record = leg(config="XX")
    assert load(record, about(record, 108, "F8C24W40Y228")).rows[0].seats == 300
    with pytest.raises(ValueError):
        seats_of_configuration("F8-Y228")


# --- dates and times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "departure", "arrival"),
    [
        ({"dep": "0000", "arr": "0210"}, "2026-12-01T00:00", "2026-12-01T02:10"),
        ({"dep": "2200", "arr": "2400"}, "2026-12-01T22:00", "2026-12-02T00:00"),
        ({"dep": "2200", "arr": "2400", "variation": "  "}, "2026-12-01T22:00", "2026-12-02T00:00"),
        ({"dep": "2200", "arr": "0000", "variation": "01"}, "2026-12-01T22:00", "2026-12-02T00:00"),
        ({"dep": "2200", "arr": "0000", "variation": "  "}, "2026-12-01T22:00", "2026-12-02T00:00"),
        ({"dep": "2400", "arr": "0210", "variation": "01"}, "2026-12-02T00:00", "2026-12-02T02:10"),
        ({"dep": "2330", "arr": "0140", "variation": "01"}, "2026-12-01T23:30", "2026-12-02T01:40"),
        ({"dep": "2330", "arr": "0140", "variation": "  "}, "2026-12-01T23:30", "2026-12-02T01:40"),
        ({"dep": "0100", "arr": "0310", "variation": "11"}, "2026-12-02T01:00", "2026-12-02T03:10"),
        ({"dep": "2330", "arr": "0140", "variation": "A0"}, "2026-11-30T23:30", "2026-12-01T01:40"),
        # Passengers board before midnight, the aircraft leaves after it: the period counts the aircraft's date.
        ({"pdep": "2355", "dep": "0005", "arr": "0210", "variation": "00"}, "2026-11-30T23:55", "2026-12-01T02:10"),
    ],
)
def test_midnight_and_date_variation(load: Load, changes: dict[str, str], departure: str, arrival: str) -> None:
    schedule = load(leg(dates="01DEC2601DEC26", days=" 2     ", **changes))
    (flight,) = flights(schedule, date(2026, 11, 25), 14)
    local = [
        at.astimezone(zone("DEL")).strftime("%Y-%m-%dT%H:%M") for at in (flight.departure_time, flight.arrival_time)
    ]
    assert local == [departure, arrival]


def zone(code: str) -> Any:
    from flightctl.core.network import zone as zone_of

    return zone_of(code)


def test_over_the_date_line_without_a_date_variation(load: Load) -> None:
    record = leg("1", "AKL", "HNL", dep="2100", arr="0700", depvar="+1300", arrvar="-1000", variation="  ")
    (flight,) = flights(load(record), days=1)
    assert flight.arrival_time - flight.departure_time == datetime(1, 1, 1, 9) - datetime(1, 1, 1)
    record = leg("1", "AKL", "HNL", dep="2100", arr="0600", depvar="+1300", arrvar="-1000", variation="0A")
    assert load(record).rejected[0].reason.startswith("it would arrive before")


def test_a_later_leg_counts_from_the_first_or_is_adjusted_already(load: Load) -> None:
    first = leg("7", "DEL", "BOM", dep="2200", arr="2359", dates="01DEC2605DEC26", days=" 2 4   ")
    unadjusted = leg(
        "7", "BOM", "BLR", sequence="02", dep="0100", arr="0230", dates="01DEC2605DEC26", days=" 2 4   ", variation="11"
    )
    adjusted = leg(
        "7", "BOM", "BLR", sequence="02", dep="0100", arr="0230", dates="02DEC2606DEC26", days="  3 5  ", variation="11"
    )
    for second in (unadjusted, adjusted):
        found = [flight for flight in flights(load(first, second)) if flight.source == "BOM"]
        assert days_of(found) == [2, 4]
        assert {flight.arrival_time.date() for flight in found} == {flight.departure_time.date() for flight in found}


def test_several_legs_a_day_under_one_number(load: Load) -> None:
    records = leg("7", "DEL", "BOM"), leg("7", "BOM", "BLR", sequence="02", dep="1300", arr="1430")
    assert [flight.flight_id for flight in flights(load(*records), days=1)] == [
        "6E7-20261201-DEL",
        "6E7-20261201-BOM",
    ]


def test_every_second_week(load: Load) -> None:
    schedule = load(
        leg(days="12     ", rate="2", dates="01DEC2628DEC26"),
        leg(days="12     ", rate="2", dates="08DEC2628DEC26", dep="1500", arr="1700"),
    )
    found = flights(schedule)
    assert [(flight.departure_date.day, flight.departure_time.hour) for flight in found] == [
        (1, 4), (7, 4), (8, 9), (14, 9), (15, 4), (21, 4), (22, 9), (28, 9),
    ]  # fmt: skip


def test_utc_times(load: Load) -> None:
    """Days and periods are UTC's: 20:30Z on a Tuesday is a Wednesday in Delhi."""
    schedule = load(leg(days=" 2     ", dep="2030", arr="2240", dates="01DEC2631DEC26"), mode="U")
    found = flights(schedule)
    assert days_of(found) == [2, 9, 16, 23, 30]
    assert found[0].departure_time == datetime(2026, 12, 1, 20, 30, tzinfo=UTC)
    assert found[0].arrival_time == datetime(2026, 12, 1, 22, 40, tzinfo=UTC)


@pytest.mark.parametrize("variation", ["00", "  "])
@pytest.mark.parametrize("end", ["30NOV26", "00XXX00"])
def test_utc_times_over_a_change_of_the_clocks(load: Load, end: str, variation: str) -> None:
    """The instants stay, the local times move: London goes back on 25 October 2026, New York on 1 November."""
    record = leg(
        "1", "LHR", "JFK", dep="1000", arr="1800", depvar="", arrvar="", dates=f"01OCT26{end}", variation=variation
    )
    found = flights(load(record, mode="U"), date(2026, 10, 1), 61)
    assert len(found) == 61
    assert {flight.departure_time.strftime("%H:%M") for flight in found} == {"10:00"}
    assert {flight.arrival_time.strftime("%H:%M") for flight in found} == {"18:00"}
    assert {flight.departure_time.astimezone(zone("LHR")).strftime("%H:%M") for flight in found} == {"10:00", "11:00"}


def test_local_times_over_a_change_of_the_clocks(load: Load) -> None:
    record = leg("1", "LHR", "JFK", dep="1000", arr="1300", depvar="+0100", arrvar="-0400", dates="01OCT2630NOV26")
    schedule = load(record)
    found = flights(schedule, date(2026, 10, 1), 61)
    assert {flight.departure_time.strftime("%H:%M") for flight in found} == {"09:00", "10:00"}
    assert schedule.notes == ()
    odd = load(leg("1", "LHR", "JFK", dep="1000", arr="1300", depvar="+0200", arrvar="-0400"))
    assert "another UTC variation" in odd.notes[0]
    assert flights(odd, days=1)[0].departure_time.hour == 10  # the local time counts


# --- codeshares ------------------------------------------------------------------------------------------------------


def test_codeshares_are_not_sold_twice(load: Load) -> None:
    operating = leg("101")
    marketing = leg("5101", carrier="UK")
    assert len(load(operating, marketing).rows) == 2  # as long as nothing tells
    for records in (
        (operating, marketing, about(marketing, 50, "6E 101")),
        (operating, about(operating, 10, "LH 8001/UK 5101"), marketing),
        (marketing, operating, about(operating, 10, "UK5101")),
        (operating, leg("5101", carrier="UK", disclosure="L")),
        (operating, leg("5101", carrier="UK", disclosure="Z")),
    ):
        schedule = load(*records)
        assert [row.carrier for row in schedule.rows] == ["6E"]
        assert (schedule.codeshares, schedule.rejected) == (1, ())


def test_a_lease_and_another_leg_of_the_partner_are_sold(load: Load) -> None:
    operating = leg("101")
    for other in (
        leg("5101", "BOM", "BLR", carrier="UK"),
        leg("5101", carrier="UK", dep="1100"),
        leg("5101", carrier="UK", dates="01JAN2731JAN27"),
    ):
        schedule = load(operating, about(operating, 10, "UK 5101"), other)
        assert (len(schedule.rows), schedule.codeshares) == (2, 0)
    assert load(operating, leg("5101", carrier="UK", disclosure="S")).codeshares == 0


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (leg(origin="XQZ"), "unknown departure airport 'XQZ'"),
        (leg(destination="DEL"), "both DEL"),
        (leg(dep="2560"), "time of departure '2560'"),
        (leg(dates="31NOV2631DEC26"), "period from '31NOV26'"),
        (leg(dates="00XXX0031DEC26"), "no first date"),
        (leg(dates="31DEC2601DEC26"), "before it begins"),
        (leg(days="2143567"), "days of operation"),
        (leg(days="       "), "days of operation"),
        (leg(rate="3"), "frequency rate '3'"),
        (leg(variation="0X"), "date variation 'X'"),
        (leg(variation="05"), "5 days after"),
        (leg(depvar="+05:3"), "UTC variation"),
        (leg(config="Y1800000"), "configuration"),
        (leg(config="Y1800"), "seats must be 1 to 999"),
        (leg(arr="0900"), "arrive before"),
        (leg(carrier="6 "), "carrier"),
        (leg("0"), "flight number"),
        (leg(dates="02DEC2602DEC26", days="1      "), "none of its days"),
        (leg()[:150] + "x" * 100, "characters instead of 200"),
        (columns(c1="6 6E"), "no record type '6'"),
        (about(leg("999"), 50, "UK 1"), "belongs to no leg"),
    ],
)
def test_a_bad_record_is_told_with_its_line_and_nothing_of_it_is_loaded(load: Load, record: str, reason: str) -> None:
    good = leg("202")
    schedule = load(record, good)
    assert [row.flight_number for row in schedule.rows] == ["202"]
    (rejected,) = schedule.rejected
    assert rejected.line == 11
    assert reason in rejected.reason


def test_what_is_said_of_a_bad_leg_goes_with_it(load: Load) -> None:
    bad, good = leg("101", origin="XQZ"), leg("202")
    schedule = load(bad, about(bad, 50, "UK 1"), good, about(leg("303"), 50, "UK 2"))
    assert [(row.line, row.flight) for row in schedule.rejected] == [(11, "6E101"), (14, "6E303")]
    assert (len(schedule.rows), schedule.codeshares) == (1, 0)


def test_the_same_leg_twice(load: Load) -> None:
    schedule = load(leg(), leg(itinerary="02", dates="15DEC2615JAN27"), leg(itinerary="03", dates="01JAN2715JAN27"))
    assert len(schedule.rows) == 2
    assert "repeats line 11" in schedule.rejected[0].reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.partition("5 6E")[0], "without a trailer"),
        (lambda text: "\n".join(text.split("\n")[:10]), "without a trailer"),
        (lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("2")), "no carrier record"),
        (lambda text: text.replace("2L6E", "2X6E"), "time mode 'X'"),
        (lambda text: text.replace("000003E", "00000XE"), "check reference"),
    ],
)
def test_a_file_that_cannot_be_trusted(tmp_path: Path, spoil: Callable[[str], str], reason: str) -> None:
    path = tmp_path / "schedule.ssim"
    path.write_text(spoil(ssim([leg()])))
    with pytest.raises(ValidationError, match=reason):
        read_schedule(path)


@pytest.mark.parametrize("check", [-1, 1, 40])
def test_the_trailer_counts(load: Load, check: int) -> None:
    with pytest.raises(ValidationError, match="the trailer tells of"):
        load(leg(), leg("202"), check=check)


def test_a_lost_record_is_noticed(tmp_path: Path) -> None:
    lines = ssim([leg("101"), leg("202"), leg("303")]).split("\n")
    path = tmp_path / "schedule.ssim"
    path.write_text("\n".join(line for line in lines if "202" not in line[:10]))
    with pytest.raises(ValidationError, match="tells of 3 records, but there are 2"):
        read_schedule(path)


def test_padding_says_nothing(load: Load) -> None:
    assert len(load(PADDING, leg(), leg("202"), check=-1).rows) == 2
