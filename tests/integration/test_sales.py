"""A flight's sales over time: every seat that was taken, and where it went."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from flightctl.core import cancellation, flights
from flightctl.core.errors import InvalidFlightError, ValidationError
from flightctl.core.plan_file import read_plan
from flightctl.core.reaccommodation import reaccommodate
from flightctl.core.sales import Sales, Span, sales
from tests.builders import DAY, TWO_LEGS, World, at, text_of

START = DAY - timedelta(days=6)
"""Four days ago, at midnight UTC."""


def told(world: World, flight: str = "F1", by: str | None = None) -> Sales:
    """The series, which ends as `flights seats` has it now."""
    found = sales(world.runtime, flight, by=by)
    seats = flights.seats(world.runtime, flight)
    last = found.points[-1]
    assert (last.held_seats, last.confirmed_seats) == (seats.held, seats.confirmed)
    before = (0, 0)
    for point in found.points:
        assert min(point.held_seats, point.confirmed_seats) >= 0
        assert point.held_seats + point.confirmed_seats == sum(before) + point.held - point.given_back
        before = (point.held_seats, point.confirmed_seats)
    return found


def days(found: Sales) -> dict[int, tuple[int, ...]]:
    """The days on which something happened, counted from START: held, confirmed, given back; held, confirmed seats."""
    assert found.span is Span.DAY
    return {
        (point.at - START).days: (
            point.held, point.confirmed, point.given_back, point.held_seats, point.confirmed_seats,
        )
        for point in found.points
        if point.held or point.confirmed or point.given_back
    }  # fmt: skip


class Past:
    """Has what just happened to a booking happen on a day of the past; what happened before stays."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: dict[str, int] = {}

    def on(self, day: int, booking: str) -> None:
        when = text_of(START + timedelta(days=day, hours=5))
        world = self.world
        last = self.seen.get(booking, 0)
        world.sql("UPDATE booking_events SET at = %s WHERE booking_id = %s AND id > %s", when, booking, last)
        self.seen[booking] = world.one("SELECT MAX(id) FROM booking_events WHERE booking_id = %s", booking)
        for column in ("created_at", "deleted_at"):
            world.sql(
                f"UPDATE seat_reservations SET {column} = %s WHERE booking_id = %s AND {column} > %s",
                when,
                booking,
                text_of(DAY - timedelta(days=2)),
            )


def test_seats_go_from_held_to_confirmed_and_back(world: World) -> None:
    world.line()
    past = Past(world)
    kept, lost, lapsed = world.booked("F1", 3), world.booked(TWO_LEGS, 2), world.booked("F1")
    for booking in (kept, lost, lapsed):
        past.on(0, booking)
    world.callback(kept)
    world.callback(lost)
    past.on(1, kept)
    past.on(2, lost)
    world.lapse(lapsed)
    world.sweep()
    past.on(2, lapsed)
    world.callback(world.booked("F1"), "FAILURE")
    world.release(lost)
    past.on(3, lost)
    found = told(world)
    changes = days(found)
    assert changes.pop(4) == (1, 0, 1, 0, 3)
    assert changes == {0: (6, 0, 0, 6, 0), 1: (0, 3, 0, 3, 3), 2: (0, 2, 1, 0, 5), 3: (0, 0, 2, 0, 3)}
    assert [point.at for point in found.points] == [START + timedelta(days=day) for day in range(5)]
    assert (found.points[0].at, told(world, by="HOUR").points[0].at) == (START, START + timedelta(hours=5))
    assert len(told(world, by="hour").points) > 4 * 24 - 5, "without a gap"
    assert days(told(world, "F2", by="day")) == {0: (2, 0, 0, 2, 0), 2: (0, 2, 0, 0, 2), 3: (0, 0, 2, 0, 0)}


def test_late_money_takes_seats_anew(world: World) -> None:
    world.line()
    past = Past(world)
    booking = world.expired("F1", 2)
    past.on(0, booking)
    world.callback(booking)
    past.on(2, booking)
    assert days(told(world, by="day")) == {0: (2, 0, 2, 0, 0), 2: (2, 2, 0, 0, 2)}


def test_parts_of_parties(world: World) -> None:
    world.line()
    past = Past(world)
    booking = world.booked(TWO_LEGS, 6)
    past.on(0, booking)
    give(world, booking, 1, "3 of 6 seats given back, the price is nonsense " * 9)
    past.on(1, booking)
    world.callback(booking)
    past.on(2, booking)
    give(world, booking, 2)
    past.on(3, booking)
    expected = {0: (6, 0, 0, 6, 0), 1: (0, 0, 1, 5, 0), 2: (0, 5, 0, 0, 5), 3: (0, 0, 2, 0, 3)}
    assert days(told(world, "F1", by="day")) == days(told(world, "F2", by="day")) == expected
    world.release(booking)
    assert days(told(world, "F1", by="day")) == expected | {4: (0, 0, 3, 0, 0)}


def give(world: World, booking: str, seats: int, reason: str | None = None) -> None:
    cancellation.release(world.runtime, booking, reason=reason, confirmed_too=True, seats=seats)


def test_moved_bookings(world: World, tmp_path: Path) -> None:
    world.line()
    world.flight("G2", "BOM", "BLR", at(11))
    past = Past(world)
    booking = world.booked(TWO_LEGS, 3)
    past.on(0, booking)
    world.callback(booking)
    past.on(1, booking)
    give(world, booking, 1)
    past.on(2, booking)
    plan = str(tmp_path / "plan.json")
    flights.cancel(world.runtime, "F2", reason="fog", plan=plan)
    past.on(2, booking)
    [moved] = reaccommodate(world.runtime, read_plan(plan)).bookings
    assert moved.after == "CF_DEL_BLR_F1_G2"
    past.on(3, booking)
    stays = {0: (3, 0, 0, 3, 0), 1: (0, 3, 0, 0, 3), 2: (0, 0, 1, 0, 2)}
    assert days(told(world, "F1", by="day")) == stays
    assert days(told(world, "F2", by="day")) == stays | {3: (0, 0, 2, 0, 0)}
    assert days(told(world, "G2", by="day")) == {3: (2, 2, 0, 0, 2)}
    world.release(booking)
    assert days(told(world, "G2", by="day")) == {3: (2, 2, 0, 0, 2), 4: (0, 0, 2, 0, 0)}
    assert days(told(world, "F2", by="day"))[3] == (0, 0, 2, 0, 0)


def test_cancelled_and_departed_flights(world: World) -> None:
    world.line()
    world.confirmed("F1", 4)
    world.booked("F1")
    flights.cancel(world.runtime, "F1", reason="fog")
    assert [(one.held, one.confirmed, one.given_back) for one in told(world, by="day").points] == [(5, 4, 5)]
    assert told(world).span is Span.HOUR
    past = Past(world)
    booking = world.confirmed("F2")
    past.on(0, booking)
    world.sql("UPDATE flights SET departure_time = %s WHERE flight_id = 'F2'", text_of(START + timedelta(days=2)))
    assert [point.at.day for point in told(world, "F2", by="day").points][-1] == (START + timedelta(days=2)).day


def test_no_sales_and_no_flight(world: World) -> None:
    world.line()
    empty = sales(world.runtime, " f3 ")
    assert (empty.flight.flight_id, empty.points) == ("F3", ())
    with pytest.raises(InvalidFlightError):
        sales(world.runtime, "F9")
    with pytest.raises(ValidationError, match="day or hour"):
        sales(world.runtime, "F3", by="week")
