"""Callbacks where a secret is set: only what the gateway signed, only just now, and never twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from flightctl.core.callbacks import receive, sign
from flightctl.core.errors import ConfigError, EnvironmentProtectedError, ValidationError
from flightctl.core.model.payments import CallbackRequest, SignedCallback
from flightctl.core.model.states import CallbackStatus
from flightctl.core.runtime import Runtime
from tests.builders import World, unchanged

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
SECRET = "correct horse battery staple"


@pytest.fixture
def gateway(world: World) -> Runtime:
    world.line()
    return world.another(FLIGHTCTL_GATEWAY_SECRET=SECRET)


def signed(world: World, runtime: Runtime, *, at: int | None = None, **more: Any) -> SignedCallback:
    booking = world.booked()
    request = CallbackRequest(booking, CallbackStatus.SUCCESS, **more)
    return sign(runtime, request, None if at is None else str(at))


def deliver(runtime: Runtime, one: SignedCallback) -> Any:
    return receive(runtime, one.request, timestamp=one.timestamp, signature=one.signature)


def test_what_the_gateway_signed_is_recorded(world: World, gateway: Runtime) -> None:
    one = signed(world, gateway)
    assert deliver(gateway, one).booking_status == "CONFIRMED"
    again = unchanged(world, lambda: deliver(gateway, one))
    assert again.changed is False


def test_the_signature_is_the_documented_one(world: World, gateway: Runtime) -> None:
    one = signed(world, gateway, payment_id="gw-991", amount=Decimal("5400"), message="zu spät")
    text = json.dumps(
        [one.timestamp, one.request.booking_id, "SUCCESS", "gw-991", "5400.00", "zu spät"], separators=(",", ":")
    )
    assert one.signature == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert abs(int(one.timestamp) - time.time()) < 60


def test_forged_and_altered_ones_change_nothing(world: World, gateway: Runtime) -> None:
    one = signed(world, gateway, message="paid")
    other = world.booked()
    stranger = sign(world.another(FLIGHTCTL_GATEWAY_SECRET="guess"), one.request, one.timestamp)
    altered = [
        stranger,
        replace(one, timestamp=str(int(one.timestamp) + 1)),
        replace(one, signature=one.signature[:-1] + ("0" if one.signature[-1] != "0" else "1")),
        replace(one, signature="\udc80é"),
        *(
            replace(one, request=replace(one.request, **change))
            for change in (
                {"booking_id": other},
                {"status": CallbackStatus.FAILURE},
                {"payment_id": world.payment(other)},
                {"amount": Decimal("1.00")},
                {"message": "paid twice"},
            )
        ),
    ]
    for forged in altered:
        with pytest.raises(ValidationError, match="signature"):
            unchanged(world, lambda forged=forged: deliver(gateway, forged))


@pytest.mark.parametrize("missing", ["timestamp", "signature", "payment"])
def test_unsigned_ones_change_nothing(world: World, gateway: Runtime, missing: str) -> None:
    one = signed(world, gateway)
    request = replace(one.request, payment_id=None) if missing == "payment" else one.request
    given = {"timestamp": one.timestamp, "signature": one.signature} | ({missing: None} if missing != "payment" else {})
    with pytest.raises(ValidationError, match="must be signed"):
        unchanged(world, lambda: receive(gateway, request, **given))


@pytest.mark.parametrize("off", [-400, 400])
def test_old_and_future_ones_change_nothing(world: World, gateway: Runtime, off: int) -> None:
    one = signed(world, gateway, at=int(time.time()) + off)
    with pytest.raises(ValidationError, match="long ago"):
        unchanged(world, lambda: deliver(gateway, one))
    patient = world.another(FLIGHTCTL_GATEWAY_SECRET=SECRET, FLIGHTCTL_GATEWAY_TOLERANCE="10m")
    assert deliver(patient, one).booking_status == "CONFIRMED"


def test_without_a_secret(world: World) -> None:
    world.line()
    booking = world.booked()
    request = CallbackRequest(booking, CallbackStatus.SUCCESS)
    with pytest.raises(ConfigError):
        unchanged(world, lambda: receive(world.runtime, request, timestamp="1", signature="aa"))
    with pytest.raises(ConfigError):
        sign(world.runtime, request, None)
    assert receive(world.runtime, request).booking_status == "CONFIRMED"


def test_only_the_gateway_signs_in_production(world: World) -> None:
    world.line()
    runtime = world.another(FLIGHTCTL_GATEWAY_SECRET=SECRET, FLIGHTCTL_ENVIRONMENT="production")
    with pytest.raises(EnvironmentProtectedError):
        sign(runtime, CallbackRequest(world.booked(), CallbackStatus.SUCCESS), None)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1.5", "9" * 13, "١٢٣"])
def test_timestamps_that_are_none(world: World, gateway: Runtime, timestamp: str) -> None:
    with pytest.raises(ValidationError):
        sign(gateway, CallbackRequest(world.booked(), CallbackStatus.SUCCESS), timestamp)
