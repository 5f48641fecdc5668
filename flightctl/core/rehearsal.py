"""The payment lab: late, double, contradictory and lost callbacks, played through with a real booking.

Never in production: time is not waited for, the booking's holds are made to end so much earlier instead.
"""

from datetime import timedelta
from typing import Final

from flightctl.core import money, payments, records, reservations, settlement, sweeper
from flightctl.core.database import Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.identifiers import normal_id
from flightctl.core.model.payments import CallbackRequest, Rehearsal
from flightctl.core.model.states import BookingStatus, CallbackStatus, ForcedOutcome, PaymentStatus
from flightctl.core.protection import refuse_in_production
from flightctl.core.runtime import Runtime

MAX_DUPLICATES: Final = 20
MAX_DELAY: Final = 30 * 86400.0
_SAID: Final = {ForcedOutcome.SUCCESS: CallbackStatus.SUCCESS, ForcedOutcome.FAILURE: CallbackStatus.FAILURE}
_OPPOSITE: Final = {
    CallbackStatus.SUCCESS: CallbackStatus.FAILURE,
    CallbackStatus.FAILURE: CallbackStatus.SUCCESS,
}


def trigger(
    runtime: Runtime,
    booking_id: str,
    outcome: ForcedOutcome,
    *,
    delay_seconds: float = 0.0,
    duplicates: int = 1,
    reorder: bool = False,
) -> Rehearsal:
    """The gateway takes the booking's latest payment and keeps silent; ``delay_seconds`` go by; then it reports.

    SUCCESS or FAILURE is reported ``duplicates`` times, with ``reorder`` overtaking the opposite report, which comes
    after it; TIMEOUT never is. What lapses meanwhile is swept. Raises EnvironmentProtectedError, BookingNotFoundError,
    ValidationError.
    """
    refuse_in_production(runtime.settings, "payments are not rehearsed with bookings of this environment")
    if not 1 <= duplicates <= MAX_DUPLICATES:
        raise ValidationError(f"--duplicate goes from 1 to {MAX_DUPLICATES}, not {duplicates}")
    if not 0 <= delay_seconds <= MAX_DELAY:
        raise ValidationError("--delay goes from 0s to 30d")
    booking_id = normal_id(booking_id)
    payment_id = runtime.database.read(lambda tx: _latest(tx, booking_id))
    payments.process(runtime, booking_id=booking_id, outcome=ForcedOutcome.TIMEOUT)
    if delay_seconds:
        _let_time_pass(runtime, booking_id, delay_seconds)
    sent = _reports(outcome, duplicates, reorder=reorder)
    results = tuple(
        settlement.callback(runtime, CallbackRequest(booking_id, status, payment_id, None, "rehearsed"))
        for status in sent
    )
    return runtime.database.read(
        lambda tx: Rehearsal(
            booking_id=booking_id,
            payment_id=payment_id,
            delay_seconds=delay_seconds,
            sent=sent,
            results=results,
            payment_status=PaymentStatus(money.require_payment(tx, payment_id).status),
            booking_status=records.load_booking(tx, booking_id).status,
        )
    )


def _latest(tx: Transaction, booking_id: str) -> str:
    payment_id = records.load_booking(tx, booking_id).payment_id
    if payment_id is None:
        raise ValidationError(f"booking {booking_id} has no payment", details={"bookingId": booking_id})
    return payment_id


def _reports(outcome: ForcedOutcome, duplicates: int, *, reorder: bool) -> tuple[CallbackStatus, ...]:
    said = _SAID.get(outcome)
    if said is None:
        return ()
    return (said,) * duplicates + ((_OPPOSITE[said],) if reorder else ())


def _let_time_pass(runtime: Runtime, booking_id: str, seconds: float) -> None:
    """The booking's holds end so much earlier, as if it had been made then; what has lapsed by that is swept."""

    def work(tx: Transaction) -> BookingStatus:
        booking = records.lock_booking(tx, booking_id)
        if booking.status is BookingStatus.PENDING:
            reservations.age(tx, booking_id, timedelta(seconds=seconds))
        return booking.status

    if runtime.database.run(work) is BookingStatus.PENDING:
        sweeper.sweep_booking(runtime, booking_id)
