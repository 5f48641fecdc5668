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
