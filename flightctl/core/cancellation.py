"""Giving bookings up, whole or in part: ``release`` by an agent, its quote, and what a cancelled flight does."""

import re
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Integer, bindparam, case, func, select, update

from flightctl.core import disruption, inventory, money, records
from flightctl.core.database import Conflict, Operation, Transaction
from flightctl.core.errors import InvalidStateError, ValidationError
from flightctl.core.identifiers import normal_id
from flightctl.core.index_hints import by_booking
from flightctl.core.model.bookings import Booking, ChangeResult, RefundQuote
from flightctl.core.model.states import BookingStatus, FlightStatus, HoldOutcome, PaymentStatus
from flightctl.core.records import Locked
from flightctl.core.refund_rules import ALL, RefundRule, part_of, percent, price_of_rest, share_of
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights
from flightctl.core.sql_functions import utc_now

RELEASED: Final = "released by an agent"
_GIVEN_BACK: Final = re.compile(r"(\d+) of \d+ seats given back, the price is ")

_JOURNEY: Final = select(
    func.min(flights.c.departure_time).label("departs"),
    func.sum(case((flights.c.status == FlightStatus.ACTIVE.value, 0), else_=1)).label("cancelled"),
    utc_now().label("now"),
).where(flights.c.flight_id.in_(bindparam("ids", expanding=True)))
_SHRINK: Final = by_booking(
    bookings,
    update(bookings)
    .where(
        bookings.c.booking_id == bindparam("id"),
        bookings.c.status == bindparam("state"),
        bookings.c.seats == bindparam("before", type_=Integer),
    )
    .values(
        seats=bindparam("left", type_=Integer),
        total_price=bindparam("total", type_=bookings.c.total_price.type),
        updated_at=utc_now(),
    ),
)


class ConfirmationNeededError(ValidationError):
    """The booking is CONFIRMED: giving it up wants a second word. ``quote`` tells what it brings."""

    def __init__(self, quote: RefundQuote) -> None:
        details = {"bookingId": quote.booking_id, "status": quote.status.value, "refund": str(quote.refund)}
        super().__init__(
            f"booking {quote.booking_id} is CONFIRMED; {quote.refund} of {quote.price} would go back",
            hint=f"Pass --yes to {f'give {quote.seats} of its seats back' if quote.seats_left else 'cancel it'}.",
            details=details,
        )
        self.quote = quote


class QuoteChangedError(InvalidStateError):
    """What would go back is no longer what was shown."""

    default_hint = "Nothing was changed; look at the new quote with --quote, and release again."


def quote(runtime: Runtime, booking_id: str, *, seats: int | None = None) -> RefundQuote:
    """What releasing the booking, or ``seats`` of it, would bring now.

    Raises BookingNotFoundError, InvalidStateError (it has ended: nothing can be given up), ValidationError.
    """
    booking_id = normal_id(booking_id)
    rules = runtime.settings["release.refund"]

    def work(tx: Transaction) -> RefundQuote:
        booking = Locked(records.require_row(tx, booking_id), records.flight_ids_of(tx, booking_id))
        _refuse_ended(booking)
        if booking.status is BookingStatus.CANCELLED:
            raise InvalidStateError(
                f"booking {booking.id} is CANCELLED already; nothing is left to give up",
                details={"bookingId": booking.id, "status": "CANCELLED"},
            )
        return _quote(tx, booking, _seats(booking, seats), rules)

    return runtime.database.read(work)


def _quote(tx: Transaction, booking: Locked, seats: int, rules: tuple[RefundRule, ...]) -> RefundQuote:
    total: Decimal = booking.row.total_price
    left = booking.row.seats - seats
    price = total - price_of_rest(total, booking.row.seats, left)
    journey = tx.execute(_JOURNEY, {"ids": list(booking.flight_ids)}).one()
    seconds = (journey.departs - journey.now).total_seconds() if journey.departs is not None else 0.0
    paid = booking.status is BookingStatus.CONFIRMED
    # The rules are for customers who change their minds, not for a journey that the airline has broken.
    broken = paid and (journey.cancelled or disruption.mark_of(tx, booking.id) is not None)
    share = (ALL if broken else share_of(rules, seconds)) if paid else None
    refund = part_of(price, share) if share is not None else Decimal(0)
    return RefundQuote(
        booking_id=booking.id,
        status=booking.status,
        seats=seats,
        seats_left=left,
        price=price,
        share=share,
        refund=refund,
        retained=price - refund if paid else Decimal(0),
        hours_left=Decimal(round(seconds / 36)).scaleb(-2),
    )


def release(
    runtime: Runtime,
    booking_id: str,
    *,
    reason: str | None,
    confirmed_too: bool,
    seats: int | None = None,
    expected: RefundQuote | None = None,
) -> ChangeResult:
    """End a PENDING booking, or with ``confirmed_too`` a CONFIRMED one, as CANCELLED; with ``seats`` give only these
    back, where they are not all.

    ``expected`` is the quote that was agreed to. Raises BookingNotFoundError, InvalidStateError (FAILED or EXPIRED: it
    ended another way), ConfirmationNeededError, QuoteChangedError, ValidationError.
    """
    booking_id = normal_id(booking_id)
    rules = runtime.settings["release.refund"]
    why = reason or RELEASED

    def work(tx: Transaction) -> ChangeResult:
        booking = records.lock_booking(tx, booking_id)
        done = records.done_before(tx, booking.id)
        if done or booking.status is BookingStatus.CANCELLED:
            return ChangeResult(records.to_booking(tx, booking.row), done)
        _refuse_ended(booking)
        now = _quote(tx, booking, _seats(booking, seats), rules)
        if booking.status is BookingStatus.CONFIRMED and not confirmed_too:
            raise ConfirmationNeededError(now)
        if expected is not None and expected.refund != now.refund:
            raise QuoteChangedError(
                f"{now.refund} would go back of booking {booking.id} by now, not {expected.refund}",
                details={"bookingId": booking.id, "refund": str(now.refund)},
            )
        if now.seats_left:
            return ChangeResult(_release_part(tx, booking, now, runtime.actor, why), True)
        return ChangeResult(cancel_booking(tx, booking, actor=runtime.actor, reason=why, share=_share(now)), True)

    flight_ids = runtime.database.read(lambda tx: records.flight_ids_of(tx, booking_id))
    return inventory.change_seats(runtime, flight_ids, work, Operation())


def _share(agreed: RefundQuote) -> Decimal:
    return ALL if agreed.share is None else agreed.share


def _refuse_ended(booking: Locked) -> None:
    if booking.status in {BookingStatus.FAILED, BookingStatus.EXPIRED}:
        raise InvalidStateError(
            f"booking {booking.id} is {booking.status.value} already; its seats are free",
            details={"bookingId": booking.id, "status": booking.status.value},
        )


def _seats(booking: Locked, seats: int | None) -> int:
    """How many seats go. Raises ValidationError for more than the booking has."""
    there: int = booking.row.seats
    if seats is not None and not 1 <= seats <= there:
        raise ValidationError(
            f"booking {booking.id} has {there} seat{'s' if there > 1 else ''}; {seats} cannot be given back",
            details={"bookingId": booking.id, "seats": there, "requested": seats},
        )
    return there if seats is None else seats


def _release_part(tx: Transaction, booking: Locked, part: RefundQuote, actor: str, reason: str) -> Booking:
    """Give some seats of a locked booking back. It stays what it is, with fewer seats and a lower price; its key still
    stands for the request that it was made for."""
    total: Decimal = booking.row.total_price - part.price
    records.keep_request(tx, booking)
    inventory.give_back_part(tx, booking.id, booking.flight_ids, part.seats)
    shrunk = {"id": booking.id, "state": booking.status.value, "before": booking.row.seats}
    if tx.change(_SHRINK, {**shrunk, "left": part.seats_left, "total": total}) != 1:
        raise Conflict
    if booking.status is BookingStatus.PENDING:
        money.ask_less(tx, booking.id, total)
    else:
        money.owe_part(tx, _paying(tx, booking), part.price, part.refund)
    told = f"{part.seats} of {booking.row.seats} seats given back, the price is {total} now{_told(part)}"
    text = f"{reason[: records.REASON_LENGTH - len(told) - 2]}: {told}"  # which is never cut: seats_given_back reads it
    records.add_event(tx, booking.id, booking.status, booking.status, actor=actor, reason=text)
    return records.load_booking(tx, booking.id)


def seats_given_back(reason: str) -> int:
    """How many seats an event of a booking tells that were given back while it stood; 0 for any other event."""
    found = _GIVEN_BACK.findall(reason)
    return int(found[-1]) if found else 0


def _told(part: RefundQuote) -> str:
    if part.share is None:
        return ""
    kept = f", {part.retained} is kept ({percent(part.share)} goes back)" if part.retained else ""
    return f"; {part.refund} is due back{kept}"


def _paying(tx: Transaction, booking: Locked) -> Any:
    """The payment that pays for a CONFIRMED booking. Raises InvalidStateError for one that nobody paid (damage)."""
    for row in money.payments_of(tx, booking.id):
        if PaymentStatus(row.status) is PaymentStatus.SUCCESS:
            return row
    raise InvalidStateError(
        f"booking {booking.id} is CONFIRMED and no payment stands for it; release it whole",
        hint="`flightctl audit` tells what does not add up.",
        details={"bookingId": booking.id, "status": booking.status.value},
    )


def cancel_booking(tx: Transaction, booking: Locked, *, actor: str, reason: str, share: Decimal = ALL) -> Booking:
    """End a locked PENDING or CONFIRMED booking as CANCELLED: seats back, that share of its money due back."""
    owed = kept = Decimal(0)
    if booking.status is BookingStatus.PENDING:
        inventory.release_holds(tx, booking.id, HoldOutcome.RELEASED)
    else:
        seats = booking.row.seats
        inventory.give_back(tx, dict.fromkeys(booking.flight_ids, seats))
        for row in money.payments_of(tx, booking.id):
            if PaymentStatus(row.status) is PaymentStatus.SUCCESS:
                stood = money.standing(tx, row)
                back = money.owe_share(tx, row, share, message=reason)
                owed, kept = owed + back, kept + stood - back
    refund = f"; {owed} is due back" if owed else ""
    refund += f"; {kept} is kept" if kept else ""
    records.move(tx, booking, BookingStatus.CANCELLED, actor=actor, reason=f"{reason}{refund}", failure=reason)
    return records.load_booking(tx, booking.id)
