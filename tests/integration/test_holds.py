"""Holds listed and extended: how far, by whose clock, and what cannot be."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from flightctl.core import holds
from flightctl.core.errors import BookingNotFoundError, HoldExpiredError, InvalidStateError, ValidationError
from flightctl.core.model.bookings import ExtendResult, Hold
from tests.builders import THREE_LEGS, TWO_LEGS, World, at, text_of, unchanged

DAY_SECONDS = 86400


def listed(world: World, **more: Any) -> list[Hold]:
    wanted = {"flight": None, "user": None, "page": 0, "size": 50, **more}
    return list(holds.list_holds(world.runtime, **wanted).content)  # type: ignore[arg-type]


def extend(world: World, booking: str, seconds: float = 600, reason: str | None = None) -> Any:
    return holds.extend(world.runtime, booking, by_seconds=seconds, reason=reason)


def extend_all(world: World, seconds: float = 600) -> ExtendResult:
    return holds.extend_all(world.runtime, by_seconds=seconds, reason="outage")


def expiry(world: World, booking: str) -> datetime:
    expires = world.book_of(booking).expires_at
    assert expires is not None
    return expires


# --- list ------------------------------------------------------------------------------------------------------------


def test_list(world: World) -> None:
    world.line()
    first = world.booked(THREE_LEGS, 2, user="asha")
    world.confirmed()
    second = world.booked("F2", user="bela")
    world.sql("UPDATE bookings SET created_at = '2020-01-01 00:00:00.000000' WHERE booking_id = %s", first)
    assert [hold.booking_id for hold in listed(world)] == [second, first]
    [hold] = listed(world, flight="f1")
    assert (hold.booking_id, hold.user_id, hold.seats) == (first, "asha", 2)
    assert (hold.flight_identifier, hold.flight_ids) == (THREE_LEGS, ("F1", "F2", "F3"))
    assert hold.expires_at == expiry(world, first)
    assert 200 < hold.seconds_left <= 300
    assert [hold.booking_id for hold in listed(world, user="bela", flight="F2")] == [second]
    assert listed(world, size=1, page=1)[0].booking_id == first


def test_list_tells_of_what_has_lapsed_until_it_is_swept(world: World) -> None:
    world.line()
    booking = world.booked()
    world.lapse(booking)
    assert [hold.seconds_left for hold in listed(world)] == [0]
    world.sweep()
    assert listed(world) == []


# --- extend ----------------------------------------------------------------------------------------------------------


def test_extend(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    before = expiry(world, booking)
    result = extend(world, f" {booking.lower()} ", 600, "gateway outage")
    assert (result.changed, result.booking.status) == (True, "PENDING")
    assert result.booking.expires_at == before + timedelta(seconds=600)
    assert world.sql("SELECT COUNT(DISTINCT expires_at) FROM seat_reservations") == [(1,)]
    [(actor, reason)] = world.sql("SELECT actor, reason FROM booking_events WHERE from_status = 'PENDING'")
    assert actor == "agent"
    assert reason.startswith("hold extended by 10m, to ")
    assert reason.endswith("Z: gateway outage")
    assert world.callback(booking).booking_status == "CONFIRMED"


def test_never_past_the_first_departure(world: World) -> None:
    world.line()
    booking = world.booked("CF_BOM_MAA_F2_F3", ttl=DAY_SECONDS)
    soon = datetime.now().astimezone() + timedelta(hours=2)
    for flight, hours in ("F2", 0), ("F3", 4):
        leaves, lands = soon + timedelta(hours=hours), soon + timedelta(hours=hours + 2)
        world.sql(
            "UPDATE flights SET departure_time = %s, arrival_time = %s WHERE flight_id = %s",
            text_of(leaves), text_of(lands), flight,
        )  # fmt: skip
    world.sql("UPDATE seat_reservations SET expires_at = %s", text_of(soon - timedelta(hours=1)))
    assert extend(world, booking, 2 * 3600).booking.expires_at == soon
    again = unchanged(world, lambda: extend(world, booking))
    assert (again.changed, again.booking.expires_at) == (False, soon)


def test_never_longer_than_a_day_in_all(world: World) -> None:
    world.flight("F1", departs=at(6, day=3))
    booking = world.book(ttl=DAY_SECONDS - 60).booking
    assert extend(world, booking.booking_id, 600).booking.expires_at == booking.created_at + timedelta(days=1)
    assert not unchanged(world, lambda: extend(world, booking.booking_id)).changed


@pytest.mark.parametrize("swept", [False, True])
def test_what_has_lapsed_stays_lapsed(world: World, swept: bool) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    world.lapse(booking)
    if swept:
        world.sweep()
    with pytest.raises(HoldExpiredError):
        unchanged(world, lambda: extend(world, booking))


def test_only_pending_bookings_hold(world: World) -> None:
    world.line()
    paid, cancelled, failed = world.confirmed(), world.booked(), world.booked()
    world.release(cancelled)
    world.callback(failed, "FAILURE")
    for booking in paid, cancelled, failed:
        with pytest.raises(InvalidStateError):
            unchanged(world, lambda booking=booking: extend(world, booking))  # type: ignore[misc]
    with pytest.raises(BookingNotFoundError):
        extend(world, "NOBODY")


@pytest.mark.parametrize("seconds", [0, 0.5, DAY_SECONDS + 1])
def test_durations_that_no_hold_has(world: World, seconds: float) -> None:
    world.line()
    booking = world.booked()
    for act in (lambda: extend(world, booking, seconds), lambda: extend_all(world, seconds)):
        with pytest.raises(ValidationError):
            unchanged(world, act)


# --- extend --all ----------------------------------------------------------------------------------------------------


def test_extend_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches; what cannot be extended is told and stops nothing."""
    monkeypatch.setattr(holds, "_NEXT", holds._NEXT.limit(2))
    world.line()
    running = sorted(world.booked(identifier) for identifier in ("F1", TWO_LEGS, THREE_LEGS))
    lapsed, full, paid = world.booked(), world.booked(ttl=DAY_SECONDS), world.confirmed()
    world.lapse(lapsed)
    before = {booking: expiry(world, booking) for booking in [*running, full]}
    result = extend_all(world)
    assert result.extended == 3
    assert {skipped.booking_id: skipped.reason for skipped in result.skipped} == {
        lapsed: holds.LAPSED,
        full: holds.AT_LIMIT,
    }
    for booking in running:
        assert expiry(world, booking) == before[booking] + timedelta(seconds=600)
    assert expiry(world, full) == before[full]
    assert world.status(paid) == "CONFIRMED"
    assert world.sweep().expired_bookings == 1


def test_extend_all_of_nothing(world: World) -> None:
    assert extend_all(world) == ExtendResult(0)
