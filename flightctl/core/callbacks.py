"""Callbacks that prove where they come from: an HMAC over what they say and when, by a secret shared with the gateway.

The signature is HMAC-SHA256, in hexadecimal, of the compact JSON array
``[timestamp, booking, status, payment, amount, message]``: the timestamp in whole Unix seconds as text, the amount with
two decimals, an empty string for what is not given. A signed callback names its payment: "the latest" could be another
one when it is played back.
"""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime
from typing import Final

from flightctl.core import records, settlement
from flightctl.core.errors import ConfigError, ValidationError
from flightctl.core.identifiers import normal_id
from flightctl.core.model.payments import CallbackRequest, CallbackResult, SignedCallback
from flightctl.core.protection import refuse_in_production
from flightctl.core.runtime import Runtime
from flightctl.core.schedule import database_now
from flightctl.core.settings import Settings

_MAX_TIMESTAMP: Final = 12
"""Digits."""


def receive(
    runtime: Runtime, request: CallbackRequest, *, timestamp: str | None = None, signature: str | None = None
) -> CallbackResult:
    """Check the signature, where ``gateway.secret`` is set, and deliver the report (``settlement.callback``).

    Raises ValidationError for a signature that is missing, wrong or out of ``gateway.tolerance`` by the database's
    clock, with nothing recorded; ConfigError for one that there is no secret to check against.
    """
    if runtime.settings["gateway.secret"]:
        _check(request, timestamp, signature, runtime.database.read(database_now), runtime.settings)
    elif timestamp is not None or signature is not None:
        raise ConfigError(
            "there is no gateway.secret to check the signature against; nothing was recorded",
            hint="Set FLIGHTCTL_GATEWAY_SECRET.",
        )
    return settlement.callback(runtime, request)


def _check(
    request: CallbackRequest, timestamp: str | None, signature: str | None, now: datetime, settings: Settings
) -> None:
    if not timestamp or not signature or request.payment_id is None:
        raise ValidationError(
            "callbacks must be signed here: --payment, --timestamp and --signature are needed; nothing was recorded"
        )
    said = timestamp.strip()
    expected = _digest(settings, request, said)
    if not hmac.compare_digest(expected.encode(), signature.strip().lower().encode(errors="replace")):
        raise ValidationError("the callback's signature is not the gateway's; nothing was recorded")
    if abs(now.timestamp() - _seconds(said)) > settings["gateway.tolerance"]:
        raise ValidationError(
            "the callback was signed too long ago, or in the future; nothing was recorded",
            hint="One that was held up for longer than gateway.tolerance must be signed anew.",
        )


def sign(runtime: Runtime, request: CallbackRequest, timestamp: str | None) -> SignedCallback:
    """What the gateway would send of the payment, the booking's latest when not named, signed now unless ``timestamp``
    says when: for rehearsals and tests.

    Raises EnvironmentProtectedError in production; ConfigError without a secret; BookingNotFoundError; ValidationError.
    """
    refuse_in_production(runtime.settings, "only the gateway signs its callbacks here")
    if not runtime.settings["gateway.secret"]:
        raise ConfigError("there is no gateway.secret to sign with", hint="Set FLIGHTCTL_GATEWAY_SECRET.")
    if request.payment_id is None:
        wanted = normal_id(request.booking_id)
        latest = runtime.database.read(lambda tx: records.load_booking(tx, wanted).payment_id)
        request = replace(request, payment_id=latest)
    said = str(int(runtime.database.read(database_now).timestamp())) if timestamp is None else timestamp.strip()
    _seconds(said)
    return SignedCallback(request, said, _digest(runtime.settings, request, said))


def _digest(settings: Settings, request: CallbackRequest, timestamp: str) -> str:
    parts = [
        timestamp,
        normal_id(request.booking_id),
        request.status.value,
        (request.payment_id or "").strip(),
        "" if request.amount is None else f"{request.amount:.2f}",
        request.message or "",
    ]
    said = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(
        settings["gateway.secret"].encode(errors="surrogateescape"), said.encode(), hashlib.sha256
    ).hexdigest()


def _seconds(timestamp: str) -> int:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_TIMESTAMP):
        raise ValidationError("--timestamp takes whole seconds since 1970, e.g. 1795000000")
    return int(timestamp)
