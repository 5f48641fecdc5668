"""Flights into rows and back: nothing is lost, nothing is added, whatever they are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flightctl.core.model.flights import Flight
from flightctl.core.model.states import FlightStatus
from flightctl.core.network import to_local, zone
from flightctl.core.timetable import expand, read_schedule
from flightctl.core.timetable_rows import Rows, minute, spans
from flightctl.core.timetable_write import to_csv, to_ssim

AIRPORTS = ("DEL", "LHR", "JFK", "LAX", "SYD", "AKL", "HNL", "KTM", "SIN", "LDH")  # LDH changes by half an hour
FIRST = date(2026, 10, 1)  # clocks change in October, November, March and April
DAYS = 200


@given(st.sets(st.integers(FIRST.toordinal(), FIRST.toordinal() + 60), min_size=1))
def test_spans_are_just_the_days(days: set[int]) -> None:
    covered: list[int] = []
    for first, last, weekdays in spans(sorted(days)):
        assert weekdays
        covered += [day for day in range(first, last + 1) if date.fromordinal(day).isoweekday() in weekdays]
    assert sorted(covered) == sorted(days)  # each once


@pytest.mark.parametrize("step", [1, 7], ids=["daily", "weekly"])
def test_what_repeats_is_one_row(step: int) -> None:
    assert len(list(spans(list(range(FIRST.toordinal(), FIRST.toordinal() + 70, step))))) == 1


flights_of = st.builds(
    lambda carrier, number, source, target, day, at, lasting, seats, price: (
        carrier, number, source, target, day, at, lasting, seats, price,
    ),
    st.sampled_from(["6E", "AI", "9W", "ABC"]),
    st.sampled_from(["1", "203", "4711", "12A"]),
    st.sampled_from(AIRPORTS),
    st.sampled_from(AIRPORTS),
    st.integers(0, DAYS - 1),
    # Few times, so that flights share rows; 01:30 and 02:30 are those that clocks skip and repeat.
    st.sampled_from([0, 90, 150, 610, 1435]),
    st.sampled_from([35, 130, 845, 2000]),
    st.integers(1, 999),
    st.decimals(0, 9_999_999, places=2),
)  # fmt: skip


def made(drawn: list[tuple[object, ...]]) -> list[Flight]:
    found: dict[object, Flight] = {}
    for carrier, number, source, target, ahead, at, lasting, seats, price in drawn:
        if source == target:
            continue
        day = FIRST + timedelta(days=ahead)  # type: ignore[arg-type]
        wall = datetime(day.year, day.month, day.day) + timedelta(minutes=at)  # type: ignore[arg-type]
        leaves = wall.replace(tzinfo=zone(str(source))).astimezone(UTC)
        if to_local(leaves, str(source)).date() != day:
            continue
        found[carrier, number, source, day] = Flight(
            f"{carrier}{number}-{day:%Y%m%d}-{source}", str(source), str(target), leaves,
            leaves + timedelta(minutes=int(lasting)), day, int(seats), int(seats), 1,  # type: ignore[call-overload]
            Decimal(price), FlightStatus.ACTIVE, str(carrier), str(number),  # type: ignore[arg-type]
        )  # fmt: skip
    return list(found.values())


def name_of(flight: Flight) -> str:
    return f"{flight.carrier}{flight.flight_number} of {flight.departure_date}"


def untellable(flight: Flight) -> bool:
    """It lands three days on, or, after less than that hour, in the hour that clocks repeat."""
    lands = to_local(flight.arrival_time, flight.destination)
    return bool(lands.fold) or (lands.date() - flight.departure_date).days > 2


def told(flight: object) -> tuple[object, ...]:
    """What a file can tell of a flight."""
    f: Flight = flight  # type: ignore[assignment]
    seats = getattr(f, "total_seats", None) or getattr(f, "seats", None)
    leaves, lands = minute(to_local(f.departure_time, f.source)), minute(to_local(f.arrival_time, f.destination))
    return (f.carrier, f.flight_number, f.source, f.destination, f.departure_date, leaves, lands, seats, f.price)


@pytest.mark.parametrize("kind", ["csv", "ssim"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(flights_of, max_size=30))
def test_what_is_written_reads_as_it_was(tmp_path: Path, kind: str, drawn: list[tuple[object, ...]]) -> None:
    flights = made(drawn)
    rows = Rows(with_offsets=kind == "ssim", years=range(2000, 2100))
    for flight in flights:
        rows.add(flight)
    pairs = list(rows.rows())
    text = to_ssim(pairs, created=FIRST) if kind == "ssim" else to_csv(row for row, _ in pairs)
    path = tmp_path / "schedule"
    path.write_text(text)
    left = [flight for flight in flights if {flight.flight_id, name_of(flight)} & {name for name, _ in rows.left_out}]
    assert all(map(untellable, left))
    if not pairs:
        return
    schedule = read_schedule(path)
    assert schedule.rejected == ()
    again = list(expand(schedule, FIRST, DAYS + 3))
    expected = sorted(told(flight) for flight in flights if flight not in left)
    assert sorted(told(flight) for flight in again) == expected


def test_what_no_file_can_tell_is_named() -> None:
    rows = Rows()
    good = made([("6E", "1", "DEL", "LHR", 3, 610, 500, 100, "10")])[0]
    from dataclasses import replace

    for bad in (
        replace(good, carrier=None),
        replace(good, flight_number="X"),
        replace(good, total_seats=1000),
        replace(good, departure_date=FIRST),
        replace(good, price=Decimal(10_000_000)),
    ):
        rows.add(bad)
    assert len(rows.left_out) == 5
    assert list(rows.rows()) == []
