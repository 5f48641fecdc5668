"""Waiting for a booking to come to a state: ``book --wait`` and ``wait``."""

import time
from collections.abc import Collection
from typing import Final

from flightctl.core import records
from flightctl.core.database import Transaction
from flightctl.core.errors import (
    DatabaseUnavailableError,
    FlightctlError,
    HoldExpiredError,
    InvalidStateError,
    PaymentDeclinedError,
    ValidationError,
    WaitTimeoutError,
)
from flightctl.core.identifiers import normal_id
from flightctl.core.model.bookings import Booking, BookResult
from flightctl.core.model.states import BOOKING_TRANSITIONS, BookingStatus
from flightctl.core.runtime import Runtime
from flightctl.core.workers import processor_alive

ENDED: Final = "ended"
MAX_SECONDS: Final = 86400
_POLL_START, _POLL_LIMIT = 0.05, 0.5
_HAPPY: Final = frozenset({BookingStatus.CONFIRMED})
_LATE_MONEY: Final = (BookingStatus.EXPIRED, BookingStatus.CONFIRMED)
"""The one move that nobody waits for: it needs money that comes after all."""


class InterruptedWait(KeyboardInterrupt):
    """Ctrl-C while a booking that was made waits for its payment. ``result`` is the BookResult."""

    def __init__(self, result: BookResult) -> None:
        super().__init__()
        self.result = result
        self.hint = _goes_on(result.booking.booking_id)


def _goes_on(booking_id: str) -> str:
    return WaitTimeoutError.default_hint.replace("BOOKING", booking_id)


def states(text: str) -> frozenset[BookingStatus]:
    """What ``--for`` names: states, separated by commas, or ``ended`` for every one but PENDING. Raises
    ValidationError."""
    words = [word.strip().upper() for word in text.split(",")]
    ends = [status for status in BookingStatus if status is not BookingStatus.PENDING]
    if words == [ENDED.upper()]:
        return frozenset(ends)
    wrong = [word for word in words if word not in ends]
    if wrong:
        raise ValidationError(
            f"--for {wrong[0][:40]!r} is not a state to wait for",
            hint=f"Take one of {', '.join(status.lower() for status in ends)}, some of them with commas, or {ENDED}.",
        )
    return frozenset(map(BookingStatus, words))


def wait(runtime: Runtime, booking_id: str, wanted: Collection[BookingStatus], timeout_seconds: float) -> Booking:
    """Wait until the booking is in one of the states; a database that goes away meanwhile is waited for as well.

    Raises BookingNotFoundError, ValidationError, DatabaseUnavailableError when it is away at the end, and what
    ``await_status`` raises.
    """
    if not 0 <= timeout_seconds <= MAX_SECONDS:
        raise ValidationError("--timeout goes from 0s to 24h")
    booking_id = normal_id(booking_id)
    deadline = time.monotonic() + timeout_seconds
    if _in_vain(runtime, booking_id, wanted):
        runtime.warn(
            "no payment processor is alive: only `confirm`, `payments callback` or a sweep can end this booking"
        )
    return _outlast(runtime, booking_id, wanted, deadline, timeout_seconds)


def await_payment(runtime: Runtime, booked: BookResult, timeout_seconds: float) -> BookResult:
    """Wait for the outcome of a booking that was just made; its database may go away meanwhile.

    What ``await_status`` raises, DatabaseUnavailableError when it is away at the end, and InterruptedWait carry the
    BookResult as ``result``: the booking stands.
    """
    booking_id = booked.booking.booking_id
    try:
        deadline = time.monotonic() + timeout_seconds
        return BookResult(_outlast(runtime, booking_id, _HAPPY, deadline, timeout_seconds), booked.replayed)
    except KeyboardInterrupt:
        raise InterruptedWait(booked) from None
    except FlightctlError as error:
        latest = error.result if isinstance(error.result, Booking) else booked.booking
        error.result = BookResult(latest, booked.replayed)
        error.details.setdefault("bookingId", booking_id)
        if isinstance(error, DatabaseUnavailableError):
            error.hint = f"Booking {booking_id} was made. {_goes_on(booking_id)}"
        raise


def _outlast(
    runtime: Runtime, booking_id: str, wanted: Collection[BookingStatus], deadline: float, told_seconds: float
) -> Booking:
    while True:
        try:
            return await_status(runtime, booking_id, wanted, max(0.0, deadline - time.monotonic()), told_seconds)
        except DatabaseUnavailableError:
            if time.monotonic() + _POLL_LIMIT > deadline:
                raise
            time.sleep(_POLL_LIMIT)


def _in_vain(runtime: Runtime, booking_id: str, wanted: Collection[BookingStatus]) -> bool:
    def work(tx: Transaction) -> bool:
        pending = records.load_booking(tx, booking_id).status is BookingStatus.PENDING
        return pending and BookingStatus.CONFIRMED in wanted and not processor_alive(tx)

    return runtime.database.read(work)


def await_status(
    runtime: Runtime,
    booking_id: str,
    wanted: Collection[BookingStatus] = _HAPPY,
    timeout_seconds: float = 60,
    told_seconds: float | None = None,
) -> Booking:
    """Poll until the booking is in one of the states wanted, or cannot come to it any more.

    Raises PaymentDeclinedError (FAILED), HoldExpiredError (EXPIRED), InvalidStateError (CANCELLED, CONFIRMED) or
    WaitTimeoutError, each with the Booking as ``result``. ``told_seconds``: the timeout as the user gave it.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = _POLL_START
    while True:
        booking = runtime.database.read(lambda tx: records.load_booking(tx, booking_id))
        if booking.status in wanted:
            return booking
        if not _may_still_come(booking.status, wanted):
            raise _other_end(booking)
        left = deadline - time.monotonic()
        if left <= 0:
            given = timeout_seconds if told_seconds is None else told_seconds
            raise WaitTimeoutError(
                f"booking {booking_id} is still {booking.status} after {given:g} s",
                hint=_goes_on(booking_id),
                details={"bookingId": booking_id},
                result=booking,
            )
        time.sleep(min(pause, left))
        pause = min(_POLL_LIMIT, pause * 1.5)


def _may_still_come(status: BookingStatus, wanted: Collection[BookingStatus]) -> bool:
    return any((status, goal) != _LATE_MONEY and goal in BOOKING_TRANSITIONS[status] for goal in wanted)


def _other_end(booking: Booking) -> FlightctlError:
    details = {"bookingId": booking.booking_id, "status": booking.status.value}
    if booking.status is BookingStatus.FAILED:
        why = booking.failure_reason or "the payment was declined"
        return PaymentDeclinedError(f"booking {booking.booking_id} failed: {why}", details=details, result=booking)
    if booking.status is BookingStatus.EXPIRED:
        return HoldExpiredError(
            f"booking {booking.booking_id} expired before it was paid",
            hint="Its seats are free again: search, and book anew.",
            details=details,
            result=booking,
        )
    was = "was cancelled" if booking.status is BookingStatus.CANCELLED else f"is {booking.status}"
    return InvalidStateError(f"booking {booking.booking_id} {was}", details=details, result=booking)
