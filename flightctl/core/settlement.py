"""What becomes of a booking when its money comes, or does not: the callback table, and ``confirm`` at the counter.

Every function here runs in one transaction that has locked the booking's row first. Money that finds no seat is
recorded as REFUND_DUE, never turned away.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from sqlalchemy.exc import IntegrityError

from flightctl.core import disruption, inventory, money, records, reservations
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import (
    BookingNotFoundError,
    FlightctlError,
    HoldExpiredError,
    InvalidFlightError,
    InvalidStateError,
    InvariantViolationError,
    ValidationError,
)
from flightctl.core.identifiers import new_payment_id, normal_id
from flightctl.core.model.bookings import ChangeResult
from flightctl.core.model.payments import CallbackRequest, CallbackResult
from flightctl.core.model.states import BookingStatus, CallbackStatus, HoldOutcome, PaymentSource, PaymentStatus
from flightctl.core.records import Locked
from flightctl.core.runtime import Runtime
from flightctl.core.settings import Settings

T = TypeVar("T")

COUNTER: Final = "paid at the counter"
PAYMENT_ID_LENGTH: Final = 64
_MONEY_IS_HERE: Final = frozenset({PaymentStatus.SUCCESS, PaymentStatus.REFUND_DUE, PaymentStatus.REFUNDED})
_NEVER_CHARGED: Final = (PaymentStatus.REQUESTED, PaymentStatus.CANCELLED)


def callback(runtime: Runtime, request: CallbackRequest) -> CallbackResult:
    """Deliver a gateway's report to the booking (SPEC's callback table); an archived one comes back for it.

    Raises BookingNotFoundError, ValidationError (a payment of another booking, a bad id or amount).
    """
    booking_id = normal_id(request.booking_id)
    payment_id = None if request.payment_id is None else request.payment_id.strip()
    if payment_id is not None and not (1 <= len(payment_id) <= PAYMENT_ID_LENGTH and payment_id.isprintable()):
        raise ValidationError(f"--payment takes 1 to {PAYMENT_ID_LENGTH} printable characters")
    if request.amount is not None and request.amount < 0:
        raise ValidationError("--amount must not be negative")

    def work(tx: Transaction) -> CallbackResult:
        booking = records.lock_booking(tx, booking_id)
        row = _reported_payment(tx, booking, payment_id, request)
        changed = row is None
        if row is None:
            row = _record_unknown(tx, booking, str(payment_id), request, runtime)
        elif request.status is CallbackStatus.SUCCESS:
            changed = receive_success(
                tx, booking, row, actor=runtime.actor, settings=runtime.settings, message=request.message
            )
        else:
            changed = receive_failure(tx, booking, row, actor=runtime.actor, message=request.message)
        after = money.require_payment(tx, row.payment_id)
        now = records.load_booking(tx, booking.id)
        changed = changed or records.done_before(tx, booking.id)
        return CallbackResult(after.payment_id, booking.id, PaymentStatus(after.status), now.status, changed)

    try:
        return deliver(runtime, booking_id, work)
    except IntegrityError:  # the payment became known just now, by a report of another booking
        return deliver(runtime, booking_id, work)
    except BookingNotFoundError:
        from flightctl.core.archive_return import bring_back

        if not bring_back(runtime, booking_id):
            raise
        return deliver(runtime, booking_id, work)


def deliver(runtime: Runtime, booking_id: str, work: Callable[[Transaction], T]) -> T:
    """Run a booking's settlement under its flights' locks. Raises BookingNotFoundError."""
    flight_ids = runtime.database.read(lambda tx: records.flight_ids_of(tx, booking_id))
    return inventory.change_seats(runtime, flight_ids, work, Operation())


def _reported_payment(tx: Transaction, booking: Locked, payment_id: str | None, request: CallbackRequest) -> Any:
    """The payment that the report is about; None for an id that nobody knows."""
    if payment_id is None:
        known = money.payments_of(tx, booking.id)
        if not known:
            raise ValidationError(
                f"booking {booking.id} has no payment; name one with --payment", details={"bookingId": booking.id}
            )
        row = known[0]
    else:
        row = money.payment_row(tx, payment_id)
    if row is None:
        return None
    if row.booking_id != booking.id:
        raise ValidationError(
            f"payment {row.payment_id} belongs to another booking", details={"paymentId": row.payment_id}
        )
    if request.amount is not None and request.amount != row.amount:
        raise ValidationError(
            f"payment {row.payment_id} is for {row.amount}, not {request.amount}; nothing was recorded",
            hint="Report money of another amount under a payment id of its own.",
            details={"paymentId": row.payment_id, "amount": str(row.amount)},
        )
    return row


def _record_unknown(
    tx: Transaction, booking: Locked, payment_id: str, request: CallbackRequest, runtime: Runtime
) -> Any:
    """Money under an id that nobody knows is recorded; with the right amount it may pay for the booking."""
    actor = runtime.actor
    amount = booking.row.total_price if request.amount is None else request.amount
    succeeded = request.status is CallbackStatus.SUCCESS
    row = money.add_payment(
        tx,
        payment_id,
        booking.id,
        amount,
        status=PaymentStatus.PROCESSING if succeeded else PaymentStatus.FAILED,
        source=PaymentSource.GATEWAY,
        outcome=request.status.value,
        message=records.clip(request.message),
    )
    if not succeeded:
        _note(tx, booking, actor, f"payment {payment_id}, unknown until now, reported as failed")
    elif amount == booking.row.total_price:
        receive_success(tx, booking, row, actor=actor, settings=runtime.settings, message=request.message)
    else:
        _owe(tx, booking, row, actor, f"{amount} came where {booking.row.total_price} was asked for")
    return row


def receive_failure(tx: Transaction, booking: Locked, row: Any, *, actor: str, message: str | None = None) -> bool:
    """The FAILURE row of the table; returns whether anything changed."""
    if PaymentStatus(row.status) not in {PaymentStatus.REQUESTED, PaymentStatus.PROCESSING}:
        return False
    why = records.clip(message) or "the gateway declined the payment"
    # Said by somebody else while the gateway may be charging: its own answer, should it be money, is still wanted.
    disputed = PaymentStatus(row.status) is PaymentStatus.PROCESSING and row.outcome is None
    money.set_outcome(tx, row, CallbackStatus.FAILURE)
    money.move_payment(tx, row, PaymentStatus.FAILED, message=why, keep_lease=disputed)
    if booking.status is BookingStatus.PENDING:
        inventory.release_holds(tx, booking.id, HoldOutcome.RELEASED)
        records.move(
            tx,
            booking,
            BookingStatus.FAILED,
            actor=actor,
            reason=f"payment {row.payment_id} failed: {why}",
            failure=why,
        )
    else:
        _note(tx, booking, actor, f"payment {row.payment_id} failed: {why}")
    return True


def receive_success(
    tx: Transaction, booking: Locked, row: Any, *, actor: str, settings: Settings, message: str | None = None
) -> bool:
    """The SUCCESS row of the table, for a payment at the gateway; returns whether anything changed."""
    status = PaymentStatus(row.status)
    if status in _MONEY_IS_HERE:
        return False
    if status is PaymentStatus.FAILED and row.outcome == CallbackStatus.FAILURE.value:
        _owe(tx, booking, row, actor, "it came after its own failure")
    else:
        money.set_outcome(tx, row, CallbackStatus.SUCCESS)
        _money_came(tx, booking, row, actor, PaymentSource(row.source), records.clip(message), settings)
    return True


def _money_came(
    tx: Transaction,
    booking: Locked,
    row: Any,
    actor: str,
    source: PaymentSource,
    message: str | None,
    settings: Settings,
) -> FlightctlError | None:
    """Give the money its seats, or owe it back; returns why it found none (which an agent is told as an error)."""
    late = ""
    if booking.status is BookingStatus.PENDING:
        trouble = _why_not_flying(tx, booking.flight_ids)
        if trouble is not None:
            _end_unflyable(tx, booking, row, actor, source, trouble)
            return trouble
        ended = reservations.end(tx, [booking.id], HoldOutcome.CONFIRMED)
        if ended != len(booking.flight_ids):
            raise InvariantViolationError(
                f"booking {booking.id} has {ended} open holds for {len(booking.flight_ids)} legs",
                details={"bookingId": booking.id},
            )
    elif booking.status is BookingStatus.EXPIRED:
        if not inventory.can_take(tx, booking.flight_ids, booking.row.seats):
            _owe(tx, booking, row, actor, "the hold had expired and the seats are gone", source)
            return HoldExpiredError(f"the hold of booking {booking.id} expired and its seats are gone")
        inventory.retake(tx, booking.id, booking.flight_ids, booking.row.seats)
        late = ", after the hold had expired: the seats were taken again"
        # As one that was PENDING when its connection broke: all legs are there, so it is sold, and waits to be moved.
        missed = disruption.check_again(tx, booking.id, settings["search.min_connection"])
        late += f"; its connection to {missed} broke meanwhile" if missed else ""
    else:
        _owe(tx, booking, row, actor, f"the booking was {booking.status.value} already", source)
        return InvalidStateError(f"booking {booking.id} is {booking.status.value}")
    money.move_payment(tx, row, PaymentStatus.SUCCESS, source=source, message=message)
    paid = COUNTER if source is PaymentSource.AGENT else "payment succeeded"
    surplus = row.amount - booking.row.total_price
    if surplus > 0:  # seats were given back while the gateway was charging for all of them
        money.owe_part(tx, row, surplus, surplus)
        paid += f"; {surplus} for seats given back is due back"
    records.move(tx, booking, BookingStatus.CONFIRMED, actor=actor, reason=f"{paid} ({row.payment_id}){late}")
    return None


def _why_not_flying(tx: Transaction, flight_ids: Sequence[str]) -> InvalidFlightError | None:
    try:
        inventory.require_bookable(tx, flight_ids)
    except InvalidFlightError as error:
        return error
    return None


def _end_unflyable(
    tx: Transaction, booking: Locked, row: Any, actor: str, source: PaymentSource, trouble: InvalidFlightError
) -> None:
    cancelled = trouble.details.get("reason") == "cancelled"
    inventory.release_holds(tx, booking.id, HoldOutcome.RELEASED if cancelled else HoldOutcome.EXPIRED)
    ended = BookingStatus.CANCELLED if cancelled else BookingStatus.EXPIRED
    money.owe_back(tx, row, message=trouble.message, source=source)
    records.move(
        tx,
        booking,
        ended,
        actor=actor,
        reason=f"payment {row.payment_id} came, but {trouble.message}: {row.amount} is due back",
        failure=trouble.message,
    )


def _owe(tx: Transaction, booking: Locked, row: Any, actor: str, why: str, source: PaymentSource | None = None) -> None:
    amount = money.owe_back(tx, row, message=why, source=source)
    _note(tx, booking, actor, f"payment {row.payment_id}: {why}; {amount} is due back")


def _note(tx: Transaction, booking: Locked, actor: str, reason: str) -> None:
    records.add_event(tx, booking.id, booking.status, booking.status, actor=actor, reason=reason)


def confirm(runtime: Runtime, booking_id: str) -> ChangeResult:
    """Settle the booking as paid at the counter (source AGENT) and confirm it.

    Raises BookingNotFoundError; HoldExpiredError (EXPIRED, the seats are gone) and InvalidStateError (FAILED or
    CANCELLED), nothing charged; InvalidFlightError when a leg was cancelled or has departed: the booking then ends and
    the counter's money is due back.
    """
    booking_id = normal_id(booking_id)

    def work(tx: Transaction) -> tuple[ChangeResult, FlightctlError | None]:
        booking = records.lock_booking(tx, booking_id)
        done = records.done_before(tx, booking.id)
        if booking.status is BookingStatus.CONFIRMED or done:
            known = records.to_booking(tx, booking.row)
            flies = booking.status is BookingStatus.CONFIRMED
            return ChangeResult(known, done), None if flies else InvalidFlightError(str(known.failure_reason))
        _refuse_unpayable(tx, booking)
        row = _counter_payment(tx, booking)
        trouble = _money_came(tx, booking, row, runtime.actor, PaymentSource.AGENT, COUNTER, runtime.settings)
        return ChangeResult(records.load_booking(tx, booking.id), True), trouble

    change, trouble = deliver(runtime, booking_id, work)
    if trouble is not None:
        trouble.details.update({"bookingId": booking_id, "status": change.booking.status.value})
        raise trouble
    return change


def _refuse_unpayable(tx: Transaction, booking: Locked) -> None:
    details = {"bookingId": booking.id, "status": booking.status.value}
    if booking.status in {BookingStatus.FAILED, BookingStatus.CANCELLED}:
        raise InvalidStateError(f"booking {booking.id} is {booking.status.value}; nothing was charged", details=details)
    if booking.status is BookingStatus.EXPIRED and not inventory.can_take(tx, booking.flight_ids, booking.row.seats):
        raise HoldExpiredError(
            f"the hold of booking {booking.id} expired and its seats are gone; nothing was charged", details=details
        )


def _counter_payment(tx: Transaction, booking: Locked) -> Any:
    """The booking's latest payment that the counter can settle: one that no gateway was ever asked for.

    One that the gateway is working on, has declined or never answered is left to it (its money, should it come after
    all, is then another payment's and due back): settling it here would hide a second charge behind the same id. The
    counter's money gets a record of its own.
    """
    for row in money.payments_of(tx, booking.id):
        if PaymentStatus(row.status) in _NEVER_CHARGED:
            return row
    total: Decimal = booking.row.total_price
    return money.add_payment(
        tx, new_payment_id(), booking.id, total, status=PaymentStatus.REQUESTED, source=PaymentSource.AGENT
    )
