"""Flights added, changed, cancelled and shown."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flightctl.core import flights
from flightctl.core.errors import (
    FlightctlError,
    InvalidFlightError,
    InvalidStateError,
    UnknownAirportError,
    ValidationError,
)
from flightctl.core.model.flights import FlightChange
from tests.builders import DAY, TWO_LEGS, World, at, text_of, unchanged

LOCAL = f"{DAY:%Y-%m-%d}"


def add(world: World, **other: Any) -> FlightChange:
    request = {
        "flight": "6E203",
        "source": "del",
        "destination": "BOM",
        "departure": f"{LOCAL}T06:30",
        "arrival": f"{LOCAL}T08:45",
        "seats": 5,
        "price": "1234.50",
        **other,
    }
    return flights.add(world.runtime, **request)


# --- add -------------------------------------------------------------------------------------------------------------


def test_add(world: World) -> None:
    change = add(world)
    flight = change.flight
    assert change.changed
    assert flight.flight_id == f"6E203-{DAY:%Y%m%d}"
    assert (flight.source, flight.destination, flight.departure_date) == ("DEL", "BOM", DAY.date())
    assert (flight.departure_time, flight.arrival_time) == (at(1), at(3.25))  # India is 5:30 ahead
    assert (flight.total_seats, flight.available_seats, flight.price) == (5, 5, Decimal("1234.50"))
    assert world.book(flight.flight_id, 5).booking.total_price == Decimal("6172.50")


def test_add_again_is_no_change(world: World) -> None:
    first = add(world)
    booking = world.booked(first.flight.flight_id)
    again = unchanged(world, lambda: add(world))
    assert not again.changed
    assert again.flight.available_seats == 4
    by_id = add(world, flight=first.flight.flight_id.lower() + "-del")
    assert (by_id.changed, by_id.flight.flight_id) == (False, first.flight.flight_id)
    assert world.status(booking) == "PENDING"


@pytest.mark.parametrize(
    "other",
    [
        {"departure": f"{LOCAL}T06:35"},
        {"arrival": f"{LOCAL}T08:50"},
        {"seats": 6},
        {"price": "1"},
        {"destination": "BLR"},
    ],
)
def test_add_the_same_flight_with_other_data(world: World, other: dict[str, Any]) -> None:
    add(world)
    with pytest.raises(InvalidStateError, match="there already"):
        unchanged(world, lambda: add(world, **other))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "other",
    [
        {"flight": ""},
        {"flight": "NOFLIGHT"},
        {"flight": "6E203-20200101"},
        {"flight": "6E203_1"},
        {"flight": f"6E203-{DAY:%Y%m%d}-BOM"},
        {"source": "BOM"},
        {"departure": "tomorrow"},
        {"departure": LOCAL},
        {"departure": f"{LOCAL}T06:30Z"},
        {"departure": f"{LOCAL}T09:30"},
        {"arrival": "9999-12-31T23:59"},
        {"departure": "0001-01-01T00:00", "arrival": "0001-01-01T03:00"},
        {"departure": f"{LOCAL}T25:00"},
        {"seats": 0},
        {"seats": -1},
        {"seats": 1000},
        {"price": "-1"},
        {"price": "1.234"},
        {"price": "NaN"},
        {"price": "1e10"},
        {"price": ""},
        {"source": "ZZZZ"},
        {"destination": "XXX0"},
    ],
    ids=str,
)
def test_bad_flights(world: World, other: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, UnknownAirportError)):
        unchanged(world, lambda: add(world, **other))


def test_add_over_the_date_line(world: World) -> None:
    """It lands before it leaves, by the clocks on the walls."""
    arrival = DAY - timedelta(days=1)
    flight = add(
        world, source="AKL", destination="HNL", departure=f"{LOCAL}T08:00", arrival=f"{arrival:%Y-%m-%d}T18:00"
    ).flight
    assert flight.departure_date == DAY.date()
    assert timedelta(hours=7) < flight.arrival_time - flight.departure_time < timedelta(hours=12)


# --- update ----------------------------------------------------------------------------------------------------------


def test_update_price_is_of_bookings_to_come(world: World) -> None:
    world.line(price="1000.00")
    booking = world.booked(key="k")
    change = flights.update(world.runtime, "f1", price="2000.5")
    assert (change.changed, change.flight.price) == (True, Decimal("2000.50"))
    assert world.book(key="k").booking.total_price == Decimal("1000.00")
    assert world.book().booking.total_price == Decimal("2000.50")
    world.callback(booking)
    assert not unchanged(world, lambda: flights.update(world.runtime, "F1", price="2000.50")).changed


def test_update_seats(world: World) -> None:
    world.line(seats=9)
    world.confirmed(seats=3)
    world.booked(seats=2)
    assert flights.update(world.runtime, "F1", seats=5).flight.available_seats == 0
    with pytest.raises(InvalidStateError, match="5 seats sold or held") as caught:
        unchanged(world, lambda: flights.update(world.runtime, "F1", seats=4))
    assert (caught.value.details["taken"], caught.value.details["requested"]) == (5, 4)
    assert flights.update(world.runtime, "F1", seats=20).flight.available_seats == 15


def _local(hour: float, zone: str = "Asia/Kolkata") -> str:
    return at(hour).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def test_update_times_are_local(world: World) -> None:
    world.flight("F1", "DEL", "LHR", at(6), 10)
    change = flights.update(world.runtime, "F1", departure=_local(7), arrival=_local(17, "Europe/London"))
    assert (change.flight.departure_time, change.flight.arrival_time) == (at(7), at(17))
    assert not flights.update(world.runtime, "F1", departure=_local(7)).changed


def test_holds_follow_a_departure_that_moves_forward(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS, ttl=86400)
    world.sql("UPDATE seat_reservations SET expires_at = %s", text_of(at(6)))
    flights.update(world.runtime, "F1", departure=_local(5.5))
    stored = world.sql("SELECT DISTINCT expires_at FROM seat_reservations")
    assert [str(row[0])[:19] for row in stored] == [text_of(at(5.5))[:19]]
    assert world.status(booking) == "PENDING"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seats": 0},
        {"seats": 1000},
        {"price": "x"},
        {"price": "-1"},
        {"departure": "x"},
        {"departure": _local(6 + 24)},  # another date is another flight
        {"departure": _local(6 - 24)},
        {"departure": "0001-01-01T00:00"},
        {"departure": _local(9)},  # after it arrives
        {"arrival": _local(5, "America/New_York")},  # before it departs
        {"arrival": "9999-12-31T23:59"},
        {"arrival": _local(6 + 49, "America/New_York")},  # nothing flies for two days
    ],
    ids=str,
)
def test_bad_updates(world: World, change: dict[str, Any]) -> None:
    world.flight("F1", "DEL", "JFK", at(6))
    with pytest.raises(ValidationError):
        unchanged(world, lambda: flights.update(world.runtime, "F1", **change))


@pytest.mark.parametrize("flight", ["NOSUCH", "", "x" * 10_000, "' OR 1=1", "F1\udc80"])
def test_unknown_flights(world: World, flight: str) -> None:
    world.line()
    for act in (
        lambda: flights.update(world.runtime, flight, price="1"),
        lambda: flights.cancel(world.runtime, flight, reason=None),
        lambda: flights.preview_cancel(world.runtime, flight),
        lambda: flights.seats(world.runtime, flight),
        lambda: flights.show(world.runtime, flight),
    ):
        with pytest.raises((InvalidFlightError, ValidationError)):
            unchanged(world, act)


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel(world: World) -> None:
    world.line()
    pending, paid = world.booked(TWO_LEGS), world.confirmed(TWO_LEGS, 2)
    other, failed = world.confirmed("F1"), world.booked("F2")
    world.callback(failed, "FAILURE")
    preview = unchanged(world, lambda: flights.preview_cancel(world.runtime, "f2"))
    assert (preview.changed, set(preview.bookings), preview.refunds_due) == (False, {pending, paid}, Decimal(4000))
    change = flights.cancel(world.runtime, "f2", reason="fog")
    assert (change.changed, set(change.bookings), change.refunds_due, change.failed) == (
        True,
        {pending, paid},
        Decimal("4000.00"),
        (),
    )
    assert change.flight.status == "CANCELLED"
    states = [world.status(booking) for booking in (pending, paid, other, failed)]
    assert states == ["CANCELLED", "CANCELLED", "CONFIRMED", "FAILED"]
    assert world.refunds(paid) == [(Decimal("4000.00"), "DUE")]
    assert world.available("F1", "F2") == [8, 9]
    assert world.one("SELECT reason FROM booking_events WHERE booking_id = %s ORDER BY id DESC LIMIT 1", pending) == (
        "flight F2 was cancelled: fog"
    )
    assert not unchanged(world, lambda: flights.cancel(world.runtime, "F2", reason=None)).changed
    with pytest.raises(InvalidFlightError, match="cancelled"):
        world.book(TWO_LEGS)


def test_cancel_finishes_what_a_killed_cancel_left(world: World) -> None:
    world.line()
    booking = world.confirmed(TWO_LEGS)
    world.cancel_by_half("F1")
    change = flights.cancel(world.runtime, "F1", reason=None)
    assert (change.changed, change.bookings) == (True, (booking,))
    assert world.status(booking) == "CANCELLED"


def test_cancel_leaves_what_cannot_be_ended_and_says_so(world: World) -> None:
    world.unchecked = "damage was planted"
    world.line()
    good, bad = world.booked(), world.booked(TWO_LEGS, 2)
    world.sql("UPDATE flights SET available_seats = 8 WHERE flight_id = 'F2'")
    change = flights.cancel(world.runtime, "F1", reason=None)
    assert change.bookings == (good,)
    assert len(change.failed) == 1
    assert change.failed[0].startswith(f"{bad}: ")
    assert (world.status(good), world.status(bad)) == ("CANCELLED", "PENDING")


# --- show ------------------------------------------------------------------------------------------------------------


def test_seats(world: World) -> None:
    world.line()
    world.confirmed(TWO_LEGS, 2)
    world.booked("F1", 3)
    world.expired("F1", 1)
    seats = flights.seats(world.runtime, "f1")
    assert (seats.flight.total_seats, seats.flight.available_seats, seats.held, seats.confirmed) == (9, 4, 3, 2)
    assert seats.cached == (4 if world.backend.redis_url else None)


def test_show(world: World) -> None:
    world.line(price="10.10")
    world.cancel_by_half("F2")
    quote = flights.show(world.runtime, TWO_LEGS.lower())
    assert (quote.flight_identifier, quote.total_price) == (TWO_LEGS, Decimal("20.20"))
    assert [flight.status for flight in quote.flights] == ["ACTIVE", "CANCELLED"]
    for wrong in ("CF_DEL_BLR_F2_F1", "CF_DEL_BLR_F1_F1", "CF_DEL_BOM_F1_F2", "CF_BLR_DEL_F1_F2"):
        with pytest.raises(InvalidFlightError, match="do not lead"):
            flights.show(world.runtime, wrong)


def test_lists(world: World) -> None:
    from flightctl.core.lists import list_bookings, list_flights

    world.line()
    world.flight("LATE", "DEL", "BOM", at(3, day=1), status="CANCELLED")
    bookings = [world.booked("F1", user=f"u{n % 2}") for n in range(5)]
    world.release(bookings[0])

    def listed(**more: Any) -> list[str]:
        request = {"user": None, "status": None, "flight": None, "page": 0, "size": 50, **more}
        return [booking.booking_id for booking in list_bookings(world.runtime, **request).content]  # type: ignore[attr-defined]

    assert listed() == bookings[::-1]
    assert listed(page=1, size=2) == bookings[2:0:-1]
    assert listed(user=" u1 ") == [bookings[3], bookings[1]]
    assert listed(status="cancelled") == [bookings[0]]
    assert listed(flight="f1") == bookings[::-1]
    assert listed(flight="F2") == []
    assert list_bookings(world.runtime, user=None, status=None, flight=None, page=9, size=2).total_elements == 5

    def flown(**more: Any) -> list[str]:
        request = {"source": None, "destination": None, "date": None, "status": None, "page": 0, "size": 50, **more}
        return [flight.flight_id for flight in list_flights(world.runtime, **request).content]  # type: ignore[attr-defined]

    assert flown() == ["LATE", "F3", "F2", "F1"]
    assert flown(source="del", date=LOCAL) == ["F1"]
    assert flown(destination="BOM", status="CANCELLED") == ["LATE"]
    for bad in ({"status": "x"}, {"page": -1}, {"size": 0}, {"size": 1001}, {"page": 10**30}):
        with pytest.raises(ValidationError):
            listed(**bad)
        with pytest.raises(FlightctlError):
            flown(**bad)


def test_history(world: World) -> None:
    from flightctl.core.lists import booking_history

    world.line()
    booking = world.booked()
    world.release(booking)

    def told(**more: int) -> list[tuple[str | None, str]]:
        events = booking_history(world.runtime, booking.lower(), **more)
        assert events.total_elements == 2
        return [(event.from_status, event.to_status) for event in events.content]  # type: ignore[attr-defined]

    both = [(None, "PENDING"), ("PENDING", "CANCELLED")]
    assert told() == told(size=50) == both
    assert [told(page=page, size=1) for page in range(3)] == [both[:1], both[1:], []]
    assert told(page=1) == []
    for bad in ({"page": -1}, {"size": 0}, {"size": 1001}):
        with pytest.raises(ValidationError):
            told(**bad)
