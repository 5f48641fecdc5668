"""Applying a re-accommodation plan: each disrupted booking moves to the first alternative that has the seats.

One transaction for each booking: lock it, see that it is disrupted still, lock every flight in question in sorted
order, then take the new legs by guarded UPDATEs and give the old ones back, all or nothing. What no alternative has
seats for is cancelled, with all of its money due back. The mark goes with the move: run again, the plan finds nothing
left to do, and what a killed run left is done then.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, update

from flightctl.core import disruption, inventory, records
from flightctl.core.cancellation import cancel_booking
from flightctl.core.database import Conflict, Operation, Transaction
from flightctl.core.errors import BookingNotFoundError, InvariantViolationError, LockAcquisitionFailedError
from flightctl.core.model.disruptions import Reaccommodated, ReaccommodateResult
from flightctl.core.model.states import BookingStatus, FlightStatus
from flightctl.core.plan_file import Alternative, Plan, PlannedBooking
from flightctl.core.records import Locked
from flightctl.core.routing import check_connection, to_microseconds
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings
from flightctl.core.sql_functions import utc_now

MOVED, CANCELLED, UNCHANGED, FAILED = "moved", "cancelled", "unchanged", "failed"

_NEW_ITINERARY: Final = (
    update(bookings)
    .where(
        bookings.c.booking_id == bindparam("id"),
        bookings.c.status == BookingStatus.CONFIRMED.value,
        bookings.c.flight_identifier == bindparam("old"),
    )
    .values(flight_identifier=bindparam("new"), flight_type=bindparam("kind"), updated_at=utc_now())
)
_DROP_LEGS: Final = delete(booking_flights).where(booking_flights.c.booking_id == bindparam("id"))

_Flights = Mapping[str, Any]
"""Rows of flights, with ``departed`` by the database's clock, by id."""


def reaccommodate(runtime: Runtime, plan: Plan, *, dry_run: bool = False) -> ReaccommodateResult:
    """Move, or cancel, every booking of the plan that is disrupted still; with ``dry_run`` only tell what would be."""
    if dry_run:
        return ReaccommodateResult(tuple(runtime.database.read(lambda tx: _rehearse(tx, runtime, plan), snapshot=True)))
    return ReaccommodateResult(tuple(_apply(runtime, entry) for entry in plan.bookings))


def _apply(runtime: Runtime, entry: PlannedBooking) -> Reaccommodated:
    wanted = {flight_id for one in entry.alternatives for flight_id in one.flight_ids}
    current = runtime.database.read(lambda tx: records.flight_ids_of(tx, entry.booking_id))
    flight_ids = sorted(wanted.union(current))
    try:
        return inventory.change_seats(runtime, flight_ids, lambda tx: _settle(tx, runtime, entry), Operation())
    except BookingNotFoundError as error:
        return Reaccommodated(entry.booking_id, UNCHANGED, None, None, None, error.message)
    except LockAcquisitionFailedError as error:
        return Reaccommodated(entry.booking_id, FAILED, None, None, None, error.message)
    except InvariantViolationError as error:  # one that does not add up stops no other
        return Reaccommodated(entry.booking_id, FAILED, None, None, None, error.message, damaged=True)


def _settle(tx: Transaction, runtime: Runtime, entry: PlannedBooking) -> Reaccommodated:
    """The transaction of one booking."""
    booking = records.lock_booking(tx, entry.booking_id)
    if records.done_before(tx, booking.id):
        return _done(tx, booking)
    broken_by = disruption.mark_of(tx, booking.id)
    if booking.status is not BookingStatus.CONFIRMED or broken_by is None:
        return _unchanged(booking)
    wanted = {flight_id for one in entry.alternatives for flight_id in one.flight_ids}
    rows = inventory.lock_flights(tx, wanted.union(booking.flight_ids))
    if _has_begun(booking, rows):
        return _under_way(booking)
    why = _why(rows.get(broken_by), broken_by)
    choice = _choose(runtime, booking, entry.alternatives, rows, Counter())
    if choice is None:
        ended = cancel_booking(tx, booking, actor=runtime.actor, reason=f"{why}, and no other seats were found")
        disruption.clear(tx, [booking.id])
        return Reaccommodated(
            booking.id, CANCELLED, booking.row.flight_identifier, None, None, str(ended.failure_reason)
        )
    _move(tx, booking, choice, rows, why, runtime.actor)
    return _moved(booking, choice, rows, why)


def _has_begun(booking: Locked, rows: _Flights) -> bool:
    """Whether a leg has been flown: whoever is under way is not where the alternatives start."""
    own = [rows[flight_id] for flight_id in booking.flight_ids]
    return any(leg.departed and leg.status == FlightStatus.ACTIVE.value for leg in own)


def _under_way(booking: Locked) -> Reaccommodated:
    detail = "its journey has begun: see to it by hand, and release it"
    return Reaccommodated(booking.id, UNCHANGED, booking.row.flight_identifier, None, None, detail)


def _why(row: Any, flight_id: str) -> str:
    cancelled = row is None or row.status != FlightStatus.ACTIVE.value
    return f"flight {flight_id} was cancelled" if cancelled else f"the times of flight {flight_id} changed"


def _choose(
    runtime: Runtime, booking: Locked, alternatives: Sequence[Alternative], rows: _Flights, taken: Counter[str]
) -> Alternative | None:
    """The first alternative that can be had; of its seats ``taken`` are gone already."""
    minimum, maximum = (round(runtime.settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    own = booking.flight_ids
    ends = rows[own[0]].source, rows[own[-1]].destination
    for one in alternatives:
        legs = [rows[flight_id] for flight_id in one.flight_ids if flight_id in rows]
        if (
            len(legs) == len(one.flight_ids)
            and (legs[0].source, legs[-1].destination) == ends
            and _connects(legs, minimum, maximum)
            and all(leg.status == FlightStatus.ACTIVE.value and not leg.departed for leg in legs)
            and all(
                leg.flight_id in own or leg.available_seats - taken[leg.flight_id] >= booking.row.seats for leg in legs
            )
        ):
            return one
    return None


def _connects(legs: Sequence[Any], minimum: int, maximum: int) -> bool:
    times = [
        (leg.flight_id, leg.source, leg.destination, *map(to_microseconds, (leg.departure_time, leg.arrival_time)))
        for leg in legs
    ]
    return check_connection(times, minimum, maximum) is None


def _move(tx: Transaction, booking: Locked, choice: Alternative, rows: _Flights, why: str, actor: str) -> None:
    records.keep_request(tx, booking)
    names = {"id": booking.id, "old": booking.row.flight_identifier, "new": choice.flight_identifier}
    if tx.change(_NEW_ITINERARY, {**names, "kind": choice.flight_type.value}) != 1:
        raise Conflict
    old, new = set(booking.flight_ids), set(choice.flight_ids)
    inventory.move_seats(tx, booking.id, leaving=old - new, entering=new - old, seats=booking.row.seats)
    tx.change(_DROP_LEGS, {"id": booking.id})
    tx.execute(
        insert(booking_flights),
        [
            {"booking_id": booking.id, "leg_order": position, "flight_id": flight_id}
            for position, flight_id in enumerate(choice.flight_ids, 1)
        ],
    )
    disruption.clear(tx, [booking.id])
    text = f"moved to {choice.flight_identifier}, {_lateness(_delay(booking, choice, rows))}: {why}"
    records.add_event(tx, booking.id, booking.status, booking.status, actor=actor, reason=text)


def _delay(booking: Locked, choice: Alternative, rows: _Flights) -> int:
    """Minutes that it arrives later; negative: earlier."""
    late = rows[choice.flight_ids[-1]].arrival_time - rows[booking.flight_ids[-1]].arrival_time
    return int(late.total_seconds() // 60)


def _lateness(minutes: int) -> str:
    if not minutes:
        return "arriving at the same time"
    return f"arriving {abs(minutes)} min {'later' if minutes > 0 else 'earlier'}"


def _moved(booking: Locked, choice: Alternative, rows: _Flights, why: str) -> Reaccommodated:
    old, new = booking.row.flight_identifier, choice.flight_identifier
    return Reaccommodated(booking.id, MOVED, old, new, _delay(booking, choice, rows), why)


def _unchanged(booking: Locked) -> Reaccommodated:
    known = booking.row.flight_identifier
    detail = "it is not disrupted" if booking.status is BookingStatus.CONFIRMED else f"it is {booking.status.value}"
    return Reaccommodated(booking.id, UNCHANGED, known, None, None, detail)


def _done(tx: Transaction, booking: Locked) -> Reaccommodated:
    """What an earlier try of this transaction did, whose COMMIT got no answer."""
    known = booking.row.flight_identifier
    if booking.status is BookingStatus.CONFIRMED:
        before, _ = records.first_request(tx, records.to_booking(tx, booking.row))
        return Reaccommodated(booking.id, MOVED, before, known, None, "it was moved")
    return Reaccommodated(booking.id, CANCELLED, known, None, None, str(booking.row.failure_reason))


def _rehearse(tx: Transaction, runtime: Runtime, plan: Plan) -> list[Reaccommodated]:
    """What ``_settle`` would do of each booking, one after the other, on one snapshot."""
    taken: Counter[str] = Counter()
    results = []
    for entry in plan.bookings:
        try:
            row = records.require_row(tx, entry.booking_id)
        except BookingNotFoundError as error:
            results.append(Reaccommodated(entry.booking_id, UNCHANGED, None, None, None, error.message))
            continue
        booking = Locked(row, records.flight_ids_of(tx, entry.booking_id))
        broken_by = disruption.mark_of(tx, booking.id)
        if booking.status is not BookingStatus.CONFIRMED or broken_by is None:
            results.append(_unchanged(booking))
            continue
        wanted = {flight_id for one in entry.alternatives for flight_id in one.flight_ids}
        rows = inventory.look_at_flights(tx, wanted.union(booking.flight_ids))
        if _has_begun(booking, rows):
            results.append(_under_way(booking))
            continue
        why = _why(rows.get(broken_by), broken_by)
        choice = _choose(runtime, booking, entry.alternatives, rows, taken)
        if choice is None:
            detail = f"{why}, and no other seats were found"
            results.append(Reaccommodated(booking.id, CANCELLED, row.flight_identifier, None, None, detail))
        else:
            taken.update(dict.fromkeys(set(choice.flight_ids).difference(booking.flight_ids), row.seats))
            taken.subtract(dict.fromkeys(set(booking.flight_ids).difference(choice.flight_ids), row.seats))
            results.append(_moved(booking, choice, rows, why))
            continue
        taken.subtract(dict.fromkeys(booking.flight_ids, row.seats))
    return results
