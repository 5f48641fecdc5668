"""Mending what audit found, where the right state follows from the rest of the data without guessing.

Each mend is a transaction of its own that locks, looks again and only then changes; so it is safe while sales go on.
The order matters: bookings and holds first, their money next, the counts that follow from them after, the cache last.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from sqlalchemy import select, update

from flightctl.core import inventory, money, payments, records, sweeper
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.model import BookingStatus, HoldOutcome, PaymentStatus, Violation
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights, seat_reservations, utc_now

ACTOR: Final = "audit --repair"
Mend = Callable[[Runtime, Violation], str | None]


def repair_all(runtime: Runtime, violations: Iterable[Violation]) -> list[str]:
    """Mend in the safe order; one line for each thing done, and for each that failed."""
    found = list(violations)
    done: list[str] = []
    for kind, mend in _MENDS:
        for violation in (violation for violation in found if violation.kind == kind):
            try:
                line = mend(runtime, violation)
            except FlightctlError as error:
                line = None
                runtime.warn(f"{kind} of {violation.booking_id or violation.flight_id}: {error.message}")
            if line:
                done.append(line)
    # Whatever was mended above may have left counts to set right that the first look could not see.
    touched = {violation.flight_id for violation in found if violation.flight_id}
    done.extend(line for line in (_recount(runtime, flight_id) for flight_id in sorted(touched)) if line)
    stale = [violation.flight_id for violation in found if violation.kind == "stale_cached_count"]
    done.extend(_republish(runtime, [flight_id for flight_id in stale if flight_id]))
    return done


def _sweep(runtime: Runtime, violation: Violation) -> str | None:
    swept = sweeper.sweep(runtime)
    return f"swept {swept.expired_bookings} lapsed bookings" if swept.expired_bookings else None


def _cancel(runtime: Runtime, violation: Violation) -> str | None:
    assert violation.booking_id
    assert violation.flight_id
    reason = f"flight {violation.flight_id} was cancelled"
    if not sweeper.cancel_for_flight(runtime, violation.booking_id, violation.flight_id, reason=reason, actor=ACTOR):
        return None
    return f"booking {violation.booking_id}: cancelled, {reason}"


def _end_stray_hold(runtime: Runtime, violation: Violation) -> str | None:
    """End open holds of a booking that is gone or has ended; the recount gives the seats back."""
    booking_id, flight_id = violation.booking_id, violation.flight_id

    def work(tx: Transaction) -> int:
        status = tx.execute(
            select(bookings.c.status).where(bookings.c.booking_id == booking_id).with_for_update()
        ).scalar()
        if status == BookingStatus.PENDING.value:
            return 0
        ended = tx.change(_end_open(booking_id, flight_id))
        if ended and status is not None:
            state = BookingStatus(status)
            records.add_event(
                tx, str(booking_id), state, state, actor=ACTOR, reason=f"a hold on {flight_id} was still open; ended"
            )
        return ended

    ended = runtime.database.run(work)
    return f"booking {booking_id}: {ended} stray hold(s) on {flight_id} ended" if ended else None


def _end_open(booking_id: str | None, flight_id: str | None) -> Any:
    return (
        update(seat_reservations)
        .where(
            seat_reservations.c.booking_id == booking_id,
            seat_reservations.c.flight_id == flight_id,
            seat_reservations.c.deleted_at.is_(None),
        )
        .values(deleted_at=utc_now(), outcome=HoldOutcome.RELEASED.value)
    )


def _end_extra_hold(runtime: Runtime, violation: Violation) -> str | None:
    """Of two open holds for one leg the older stays."""

    def work(tx: Transaction) -> int:
        booking = records.lock_booking(tx, str(violation.booking_id))
        mine = (
            select(seat_reservations.c.id)
            .where(
                seat_reservations.c.booking_id == violation.booking_id,
                seat_reservations.c.flight_id == violation.flight_id,
                seat_reservations.c.deleted_at.is_(None),
            )
            .order_by(seat_reservations.c.id)
        )
        extra = list(tx.execute(mine).scalars())[1:]
        if booking.status is not BookingStatus.PENDING or not extra:
            return 0
        ended = tx.change(
            update(seat_reservations)
            .where(seat_reservations.c.id.in_(extra))
            .values(deleted_at=utc_now(), outcome=HoldOutcome.RELEASED.value)
        )
        _note(tx, booking, f"{ended} extra hold(s) on {violation.flight_id} ended")
        return ended

    ended = runtime.database.run(work)
    return f"booking {violation.booking_id}: {ended} extra hold(s) on {violation.flight_id} ended" if ended else None


def _expire_unheld(runtime: Runtime, violation: Violation) -> str | None:
    """A PENDING booking that does not hold all its seats can promise nothing: it expires. Late money still may pay."""

    def work(tx: Transaction) -> bool:
        booking = records.lock_booking(tx, str(violation.booking_id))
        held = {hold.flight_id for hold in inventory.open_holds(tx, [booking.id])}
        if booking.status is not BookingStatus.PENDING or (booking.flight_ids and held.issuperset(booking.flight_ids)):
            return False
        inventory.end_holds(tx, [booking.id], HoldOutcome.EXPIRED)
        reason = "it held no seats on some leg"
        records.move(tx, booking, BookingStatus.EXPIRED, actor=ACTOR, reason=reason, failure=reason)
        return True

    done = runtime.database.run(work)
    flight_ids = runtime.database.read(lambda tx: records.flight_ids_of(tx, str(violation.booking_id)))
    for flight_id in flight_ids:
        _recount(runtime, flight_id)
    return f"booking {violation.booking_id}: expired, it did not hold all its seats" if done else None


def _settle_strays(runtime: Runtime, violation: Violation) -> str | None:
    """Money on the wrong side: what stands for a booking that has ended, or a second time, is due back; what stands for
    a PENDING booking confirms it; what was REQUESTED of an ended one is cancelled."""

    def work(tx: Transaction) -> list[str]:
        booking = records.lock_booking(tx, str(violation.booking_id))
        standing = [
            row for row in reversed(money.payments_of(tx, booking.id)) if row.status == PaymentStatus.SUCCESS.value
        ]
        lines: list[str] = []
        if booking.status is BookingStatus.PENDING and standing:
            if inventory.end_holds(tx, [booking.id], HoldOutcome.CONFIRMED) == len(booking.flight_ids):
                records.move(tx, booking, BookingStatus.CONFIRMED, actor=ACTOR, reason="its payment had succeeded")
                lines.append("confirmed, its payment had succeeded")
            return lines
        for row in standing[1:] if booking.status is BookingStatus.CONFIRMED else standing:
            owed = money.owe_back(tx, row, message=f"booking {booking.status.value}")
            lines.append(f"payment {row.payment_id}: {owed} is due back")
        if booking.status is not BookingStatus.PENDING:
            records.cancel_requested(tx, [booking.id])
        if lines:
            _note(tx, booking, "; ".join(lines))
        return lines

    lines = runtime.database.run(work)
    return f"booking {violation.booking_id}: {'; '.join(lines)}" if lines else None


def _process(runtime: Runtime, violation: Violation) -> str | None:
    """Stuck payments and refunds that are due go through the processor, as in the daemon."""
    if violation.booking_id is None:
        return None
    _settle_strays(runtime, violation)
    result = payments.process(runtime, booking_id=violation.booking_id)
    moved = result.claimed + result.refunded
    return f"booking {violation.booking_id}: {moved} payments and refunds brought on" if moved else None


def _owe_missing(runtime: Runtime, violation: Violation) -> str | None:
    """A payment that is REFUND_DUE without a refund owes what was not paid back."""

    def work(tx: Transaction) -> list[str]:
        booking = records.lock_booking(tx, str(violation.booking_id))
        lines = []
        for row in money.payments_of(tx, booking.id):
            if row.status == PaymentStatus.REFUND_DUE.value:
                owed = money.owe_rest(tx, row)
                if owed:
                    lines.append(f"payment {row.payment_id}: {owed} is due back")
        if lines:
            _note(tx, booking, "; ".join(lines))
        return lines

    lines = runtime.database.run(work)
    return f"booking {violation.booking_id}: {'; '.join(lines)}" if lines else None


def _recount(runtime: Runtime, flight_id: str) -> str | None:
    """Set a flight's available seats to what its bookings and holds leave; the flight's row is locked meanwhile.

    Whoever changes holds or bookings without having reached the flight's row yet has not committed, and is neither in
    this sum nor in the seats; whoever has, has committed both.
    """

    def work(tx: Transaction) -> tuple[int, int] | None:
        locked = select(flights.c.available_seats).where(flights.c.flight_id == flight_id).with_for_update()
        before = tx.execute(locked).scalar()
        row = inventory.seats_on(tx, flight_id)
        if before is None or row is None:
            return None
        right = row.total_seats - int(row.held) - int(row.confirmed)
        if right == before or not 0 <= right <= row.total_seats:
            return None
        inventory.set_available(tx, flight_id, right)
        return before, right

    changed = inventory.change_seats(runtime, [flight_id], work, Operation())
    return f"flight {flight_id}: available seats {changed[0]} -> {changed[1]}" if changed else None


def _recount_violation(runtime: Runtime, violation: Violation) -> str | None:
    return _recount(runtime, str(violation.flight_id))


def _republish(runtime: Runtime, flight_ids: list[str]) -> list[str]:
    """Forget the wrong cached counts and publish the database's."""
    if not flight_ids:
        return []
    runtime.cache.forget_seats(flight_ids)
    runtime.cache.publish_seats(runtime.database.read(lambda tx: inventory.counts(tx, flight_ids)))
    return [f"flight {flight_id}: cached count replaced" for flight_id in flight_ids]


def _note(tx: Transaction, booking: records.Locked, reason: str) -> None:
    records.add_event(tx, booking.id, booking.status, booking.status, actor=ACTOR, reason=reason)


_MENDS: Final[tuple[tuple[str, Mend], ...]] = (
    ("unswept_hold", _sweep),
    ("booking_on_cancelled_flight", _cancel),
    ("hold_without_booking", _end_stray_hold),
    ("duplicate_hold", _end_extra_hold),
    ("booking_without_hold", _expire_unheld),
    ("payment_without_seat", _settle_strays),
    ("double_payment", _settle_strays),
    ("stuck_payment", _process),
    ("refund_missing", _owe_missing),
    ("refund_overdue", _process),
    ("seat_count", _recount_violation),
)
