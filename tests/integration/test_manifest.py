"""The manifest: whoever has seats on the flight, and nobody else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flightctl.core.errors import InvalidFlightError
from flightctl.core.manifest import manifest
from tests.builders import TWO_LEGS, World


def told(world: World, flight: str, *, ended_too: bool = False) -> dict[str, tuple[object, ...]]:
    return {
        one.booking_id: (one.status.value, one.seats, one.leg_order, one.legs, one.paid)
        for one in manifest(world.runtime, flight, ended_too=ended_too)
    }


def test_the_bookings_on_a_flight(world: World) -> None:
    world.line()
    direct, connecting = world.booked("F2", 2), world.confirmed(TWO_LEGS, 3)
    released = world.confirmed("F2")
    world.release(released)
    world.booked("F1")
    seated = {direct: ("PENDING", 2, 1, 1, None), connecting: ("CONFIRMED", 3, 2, 2, Decimal("6000.00"))}
    assert told(world, " f2 ") == seated
    assert told(world, "F2", ended_too=True) == seated | {released: ("CANCELLED", 1, 1, 1, None)}
    assert told(world, "F3") == {}
    with pytest.raises(InvalidFlightError):
        manifest(world.runtime, "F9", ended_too=False)


def test_paid_is_what_pays_for_the_seats_that_are_left(world: World) -> None:
    """After a part was given back, half of it kept by the rules; and when the rest is given up too, all of it kept."""
    from flightctl.core.cancellation import release

    world.line()
    booking = world.confirmed("F1", 3)
    half, none = (world.another(FLIGHTCTL_RELEASE_REFUND=f"0h={share}") for share in ("0.5", "0"))
    release(half, booking, reason=None, confirmed_too=True, seats=1)
    assert world.refunds(booking) == [(Decimal("500.00"), "DUE")]
    assert told(world, "F1")[booking] == ("CONFIRMED", 2, 1, 1, Decimal("2000.00"))
    release(none, booking, reason=None, confirmed_too=True)
    assert told(world, "F1", ended_too=True)[booking] == ("CANCELLED", 2, 1, 1, Decimal("0.00"))
