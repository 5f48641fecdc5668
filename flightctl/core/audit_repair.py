"""Mending what audit found, where the right state follows from the rest of the data without guessing.

Each mend is a transaction of its own that locks, looks again and only then changes; so it is safe while sales go on,
and whoever mends at the same time finds nothing left to do. A mend that ends holds counts its flights again in the same
transaction. The order matters: counts first (giving seats back to a wrong count may break the table's rules), bookings
and holds next, their money after, the counts once more, the cache last.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import select, update

from flightctl.core import inventory, money, payments, records, reservations, sweeper
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import FlightctlError, InvalidFlightError
from flightctl.core.flight_endings import cancel_for_flight
from flightctl.core.model.operations import Violation
from flightctl.core.model.states import BookingStatus, HoldOutcome, PaymentStatus, RefundStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights, refunds, seat_reservations
from flightctl.core.sql_functions import utc_now

ACTOR: Final = "audit --repair"
Mend = Callable[[Runtime, Violation], str | None]

_OUTCOMES: Final = {
    BookingStatus.CONFIRMED: HoldOutcome.CONFIRMED,
    BookingStatus.EXPIRED: HoldOutcome.EXPIRED,
}
"""How a hold ends that was left open by the end of its booking; RELEASED otherwise."""


def repair_all(runtime: Runtime, violations: Iterable[Violation]) -> list[str]:
    """Mend in the safe order; one line for each thing done. What failed is a warning."""
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
    stale = [violation.flight_id for violation in found if violation.kind == "stale_cached_count"]
    done.extend(_republish(runtime, [flight_id for flight_id in stale if flight_id]))
    return done


def _sweep(runtime: Runtime, violation: Violation) -> str | None:
    """The first hold that was not swept brings the sweep of all; the others find theirs gone."""
    lapsed = select(seat_reservations.c.id).where(
        seat_reservations.c.booking_id == violation.booking_id,
        seat_reservations.c.deleted_at.is_(None),
        seat_reservations.c.expires_at <= utc_now(),
    )
    if runtime.database.read(lambda tx: tx.execute(lapsed).first()) is None:
        return None
    swept = sweeper.sweep(runtime)
    for line in swept.skipped:
        runtime.warn(f"not swept: {line}")
    return f"swept {swept.expired_bookings} lapsed bookings" if swept.expired_bookings else None


def _cancel(runtime: Runtime, violation: Violation) -> str | None:
    assert violation.booking_id
    assert violation.flight_id
    reason = f"flight {violation.flight_id} was cancelled"
    if not cancel_for_flight(
        runtime, violation.booking_id, violation.flight_id, reason=reason, actor=ACTOR, spare_disrupted=True
    ):
        return None
    return f"booking {violation.booking_id}: cancelled, {reason}"


def _end_stray_hold(runtime: Runtime, violation: Violation) -> str | None:
    """End open holds of a booking that is gone, has ended, or does not fly that leg."""
    booking_id, flight_id = str(violation.booking_id), str(violation.flight_id)

    def work(tx: Transaction) -> int:
        lock = select(bookings.c.status).where(bookings.c.booking_id == booking_id).with_for_update()
        status = tx.execute(lock).scalar()
        if status == BookingStatus.PENDING.value and flight_id in records.flight_ids_of(tx, booking_id):
            return 0
        holds = [hold for hold in _open_holds(tx, booking_id) if hold.flight_id == flight_id]
        if not holds:
            return 0
        state = None if status is None else BookingStatus(status)
        outcome = HoldOutcome.RELEASED if state is None else _outcome(tx, booking_id, flight_id, state)
        _end_holds(tx, holds, outcome)
        if state is not None:
            _note(tx, booking_id, state, f"a hold on {flight_id} was open although the booking is {state}; ended")
        return len(holds)

    ended = inventory.change_seats(runtime, [flight_id], work, Operation())
    return f"booking {booking_id}: {ended} stray hold(s) on {flight_id} ended" if ended else None


def _outcome(tx: Transaction, booking_id: str, flight_id: str, state: BookingStatus) -> HoldOutcome:
    """A CONFIRMED booking's own hold of a leg ends as CONFIRMED, any further one as RELEASED."""
    if state is BookingStatus.CONFIRMED:
        confirmed = select(seat_reservations.c.id).where(
            seat_reservations.c.booking_id == booking_id,
            seat_reservations.c.flight_id == flight_id,
            seat_reservations.c.outcome == HoldOutcome.CONFIRMED.value,
        )
        if flight_id not in records.flight_ids_of(tx, booking_id) or tx.execute(confirmed).first() is not None:
            return HoldOutcome.RELEASED
    return _OUTCOMES.get(state, HoldOutcome.RELEASED)


def _end_extra_hold(runtime: Runtime, violation: Violation) -> str | None:
    """Of two open holds for one leg the oldest with the booking's seats stays."""
    booking_id, flight_id = str(violation.booking_id), str(violation.flight_id)

    def work(tx: Transaction) -> int:
        booking = records.lock_booking(tx, booking_id)
        holds = [hold for hold in _open_holds(tx, booking_id) if hold.flight_id == flight_id]
        fitting = [hold for hold in holds if hold.seats == booking.row.seats]
        if booking.status is not BookingStatus.PENDING or len(holds) < 2 or not fitting:
            return 0
        extra = [hold for hold in holds if hold.id != fitting[0].id]
        _end_holds(tx, extra, HoldOutcome.RELEASED)
        _note(tx, booking_id, booking.status, f"{len(extra)} extra hold(s) on {flight_id} ended")
        return len(extra)

    ended = inventory.change_seats(runtime, [flight_id], work, Operation())
    return f"booking {booking_id}: {ended} extra hold(s) on {flight_id} ended" if ended else None


def _expire_unheld(runtime: Runtime, violation: Violation) -> str | None:
    """A PENDING booking that does not hold all its seats can promise nothing: it expires. Late money still may pay."""
    booking_id = str(violation.booking_id)

    def work(tx: Transaction) -> bool:
        booking = records.lock_booking(tx, booking_id)
        held = {hold.flight_id for hold in _open_holds(tx, booking_id)}
        if booking.status is not BookingStatus.PENDING or (booking.flight_ids and held.issuperset(booking.flight_ids)):
            return False
        _expire(tx, booking, "it held no seats on some leg")
        return True

    done = inventory.change_seats(runtime, _flights_of(runtime, booking_id), work, Operation())
    return f"booking {booking_id}: expired, it did not hold all its seats" if done else None


def _expire(tx: Transaction, booking: records.Locked, reason: str) -> None:
    _end_holds(tx, _open_holds(tx, booking.id), HoldOutcome.EXPIRED)
    records.move(tx, booking, BookingStatus.EXPIRED, actor=ACTOR, reason=reason, failure=reason)


def _settle_strays(runtime: Runtime, violation: Violation) -> str | None:
    """Money on the wrong side: what stands for a PENDING booking confirms it, where its seats are held and its flights
    will fly; what stands for an ended booking, or a second time, is due back; what is REQUESTED of an ended one is
    cancelled."""
    booking_id = str(violation.booking_id)

    def work(tx: Transaction) -> list[str]:
        booking = records.lock_booking(tx, booking_id)
        known = list(reversed(money.payments_of(tx, booking_id)))
        standing = [row for row in known if row.status == PaymentStatus.SUCCESS.value]
        keeps = next((row for row in standing if money.standing(tx, row) == booking.row.total_price), None)
        if booking.status is BookingStatus.PENDING and keeps is not None:
            return _confirm_or_expire(tx, booking)
        if booking.status is BookingStatus.CONFIRMED:
            surplus = [row for row in standing if row is not keeps] if keeps is not None else []
        else:
            surplus = [row for row in standing if money.standing(tx, row) or not row.retained]
        lines = []
        for row in surplus:
            owed = money.owe_back(tx, row, message=f"the booking is {booking.status}")
            lines.append(f"payment {row.payment_id}: {owed} is due back")
        if booking.status is not BookingStatus.PENDING:
            waiting = [row.payment_id for row in known if row.status == PaymentStatus.REQUESTED.value]
            records.cancel_requested(tx, [booking_id])
            lines += [f"payment {payment_id}: cancelled, nobody had asked for it" for payment_id in waiting]
        if lines:
            _note(tx, booking_id, booking.status, "; ".join(lines))
        return lines

    lines = inventory.change_seats(runtime, _flights_of(runtime, booking_id), work, Operation())
    return f"booking {booking_id}: {'; '.join(lines)}" if lines else None


def _confirm_or_expire(tx: Transaction, booking: records.Locked) -> list[str]:
    """What a payment that stands makes of a PENDING booking; the money of one that expires is due back next."""
    holds = sorted((hold.flight_id, hold.seats) for hold in _open_holds(tx, booking.id))
    whole = holds == sorted((flight_id, booking.row.seats) for flight_id in booking.flight_ids)
    if whole and booking.flight_ids and _all_fly(tx, booking.flight_ids):
        reservations.end(tx, [booking.id], HoldOutcome.CONFIRMED)
        records.move(tx, booking, BookingStatus.CONFIRMED, actor=ACTOR, reason="its payment had succeeded")
        return ["confirmed, its payment had succeeded"]
    _expire(tx, booking, "it was paid, but does not hold seats on flights that will fly")
    return ["expired, it was paid but does not hold seats on flights that will fly"]


def _all_fly(tx: Transaction, flight_ids: Sequence[str]) -> bool:
    try:
        inventory.require_bookable(tx, flight_ids)
    except InvalidFlightError:
        return False
    return True


def _process(runtime: Runtime, violation: Violation) -> str | None:
    """Stuck payments and refunds that are due go through the processor, as in the daemon."""
    if violation.booking_id is None:
        return None
    settled = _settle_strays(runtime, violation)
    result = payments.process(runtime, booking_id=violation.booking_id)
    for error in result.errors:
        runtime.warn(error)
    moved = result.claimed + result.refunded
    brought = f"booking {violation.booking_id}: {moved} payments and refunds brought on" if moved else None
    return "; ".join(filter(None, (settled, brought))) or None


def _owe_missing(runtime: Runtime, violation: Violation) -> str | None:
    """A payment that is REFUND_DUE owes what no refund covers, and is REFUNDED when all of it was paid back."""
    booking_id = str(violation.booking_id)

    def work(tx: Transaction) -> list[str]:
        booking = records.lock_booking(tx, booking_id)
        lines = []
        for row in money.payments_of(tx, booking_id):
            known = _refunds_of(tx, row.payment_id)
            if row.status != PaymentStatus.REFUND_DUE.value:
                continue
            if (
                known
                and all(refund.status == RefundStatus.PAID.value for refund in known)
                and not money.standing(tx, row)
            ):
                money.move_payment(tx, row, PaymentStatus.REFUNDED)
                lines.append(f"payment {row.payment_id}: all of it was paid back")
            elif not known or money.standing(tx, row) > 0:
                lines.append(f"payment {row.payment_id}: {money.owe_rest(tx, row)} is due back")
        if lines:
            _note(tx, booking_id, booking.status, "; ".join(lines))
        return lines

    lines = runtime.database.run(work)
    return f"booking {booking_id}: {'; '.join(lines)}" if lines else None


def _refunds_of(tx: Transaction, payment_id: str) -> list[Any]:
    return list(tx.execute(select(refunds).where(refunds.c.payment_id == payment_id)).all())


def _recount(runtime: Runtime, violation: Violation) -> str | None:
    """Set a flight's available seats to what its bookings and holds leave."""
    flight_id = str(violation.flight_id)
    changed = inventory.change_seats(runtime, [flight_id], lambda tx: _count_again(tx, flight_id), Operation())
    return f"flight {flight_id}: available seats {changed[0]} -> {changed[1]}" if changed else None


def _count_again(tx: Transaction, flight_id: str) -> tuple[int, int] | None:
    """Count under the lock of the flight's row; returns the seats before and after where they differ.

    Whoever changes holds or bookings without having reached the flight's row yet has not committed, and is neither in
    this sum nor in the seats; whoever has, has committed both. A flight with more seats promised than it has is left
    for people to decide.
    """
    before = tx.execute(
        select(flights.c.available_seats).where(flights.c.flight_id == flight_id).with_for_update()
    ).scalar()
    row = inventory.seats_on(tx, flight_id)
    if before is None or row is None:
        return None
    right = row.total_seats - int(row.held) - int(row.confirmed)
    if right == before or not 0 <= right <= row.total_seats:
        return None
    inventory.set_available(tx, flight_id, right)
    return before, right


def _republish(runtime: Runtime, flight_ids: list[str]) -> list[str]:
    """Forget the wrong cached counts and publish the database's, read after that: a count published in between, which
    is newer, stays."""
    if not flight_ids:
        return []
    runtime.cache.forget_seats(flight_ids)
    runtime.cache.publish_seats(runtime.database.read(lambda tx: inventory.counts(tx, flight_ids)))
    return [f"flight {flight_id}: cached count replaced" for flight_id in flight_ids]


def _flights_of(runtime: Runtime, booking_id: str) -> list[str]:
    """The flights whose seats a mend of the booking may change: its legs, and whatever it holds besides."""
    held = select(seat_reservations.c.flight_id).where(
        seat_reservations.c.booking_id == booking_id, seat_reservations.c.deleted_at.is_(None)
    )
    return runtime.database.read(
        lambda tx: sorted({*records.flight_ids_of(tx, booking_id), *tx.execute(held).scalars()})
    )


def _open_holds(tx: Transaction, booking_id: str) -> list[Any]:
    """The booking's open holds, locked, oldest first."""
    mine = (
        select(seat_reservations.c.id, seat_reservations.c.flight_id, seat_reservations.c.seats)
        .where(seat_reservations.c.booking_id == booking_id, seat_reservations.c.deleted_at.is_(None))
        .order_by(seat_reservations.c.id)
        .with_for_update()
    )
    return list(tx.execute(mine).all())


def _end_holds(tx: Transaction, holds: Sequence[Any], outcome: HoldOutcome) -> None:
    """End these holds and count their flights again, in sorted order: whether their seats were given back before is
    not known, so they are counted instead of added."""
    tx.change(
        update(seat_reservations)
        .where(seat_reservations.c.id.in_([hold.id for hold in holds]), seat_reservations.c.deleted_at.is_(None))
        .values(deleted_at=utc_now(), outcome=outcome.value)
    )
    for flight_id in sorted({hold.flight_id for hold in holds}):
        _count_again(tx, flight_id)


def _note(tx: Transaction, booking_id: str, status: BookingStatus, reason: str) -> None:
    records.add_event(tx, booking_id, status, status, actor=ACTOR, reason=reason)


_MENDS: Final[tuple[tuple[str, Mend], ...]] = (
    ("seat_count", _recount),
    ("hold_without_booking", _end_stray_hold),
    ("hold_without_leg", _end_stray_hold),
    ("duplicate_hold", _end_extra_hold),
    ("booking_on_cancelled_flight", _cancel),
    ("payment_without_seat", _settle_strays),
    ("double_payment", _settle_strays),
    ("unswept_hold", _sweep),
    ("booking_without_hold", _expire_unheld),
    ("stuck_payment", _process),
    ("refund_missing", _owe_missing),
    ("refund_overdue", _process),
    ("seat_count", _recount),
)
