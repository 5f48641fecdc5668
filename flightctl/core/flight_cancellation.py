"""Cancelling a flight: what it does to its bookings, shown before and done after."""

from dataclasses import replace
from decimal import Decimal

from sqlalchemy import update

from flightctl.core import affected_bookings, disruption, inventory, plan_file, schedule
from flightctl.core.database import Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.flight_endings import cancel_for_flight
from flightctl.core.flight_rows import BY_ID, require
from flightctl.core.identifiers import normal_id
from flightctl.core.model.flights import AffectedBooking, Flight, FlightChange
from flightctl.core.model.states import FlightStatus
from flightctl.core.replan import make_plan
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights


def preview_cancel(runtime: Runtime, flight_id: str, *, with_plan: bool = False) -> FlightChange:
    """The bookings that a cancellation would affect, and what would become of each. Raises InvalidFlightError."""
    flight_id = normal_id(flight_id)

    def work(tx: Transaction) -> FlightChange:
        row = require(tx.execute(BY_ID, {"id": flight_id}).first(), flight_id)
        return _change(
            inventory.to_flight(row), False, affected_bookings.by_cancelling(tx, flight_id, with_plan=with_plan)
        )

    return runtime.database.read(work)


def _change(
    flight: Flight, changed: bool, affected: tuple[AffectedBooking, ...], failed: tuple[str, ...] = ()
) -> FlightChange:
    ending = tuple(one for one in affected if not one.disrupted)
    owed = sum((one.refund for one in ending), Decimal(0))
    return FlightChange(flight, changed, tuple(one.booking_id for one in ending), owed, failed, affected)


def cancel(runtime: Runtime, flight_id: str, *, reason: str | None, plan: str | None = None) -> FlightChange:
    """Cancel a flight, and end each of its bookings in a transaction of its own; the sweep finishes what is left.

    With ``plan``, a file to be written, its CONFIRMED bookings stay so and wait to be moved. Asked again, it ends what
    a killed cancellation left, or writes the plan for those that wait still; asked again without ``plan``, it ends
    these, too. Raises InvalidFlightError, and ValidationError for a file that cannot be written.
    """
    flight_id = normal_id(flight_id)
    why = f"flight {flight_id} was cancelled" + (f": {reason}" if reason else "")
    if plan is not None:
        plan_file.require_writable(plan)

    def work(tx: Transaction) -> tuple[bool, int]:
        version = schedule.raise_version(tx, [flight_id])
        changed = tx.change(
            update(flights)
            .where(flights.c.flight_id == flight_id, flights.c.status == FlightStatus.ACTIVE.value)
            .values(status=FlightStatus.CANCELLED.value, seat_version=flights.c.seat_version + 1)
        )
        require(tx.execute(BY_ID, {"id": flight_id}).first(), flight_id)
        if plan is not None:
            disruption.mark_confirmed(tx, flight_id)
        return changed == 1, version

    changed, version = inventory.change_seats(runtime, [flight_id], work)
    runtime.cache.publish_schedule_version(version)
    if plan is not None:  # those that were being confirmed just then, unless a sweep has ended them
        runtime.database.run(lambda tx: disruption.mark_confirmed(tx, flight_id))
    affected = runtime.database.read(lambda tx: affected_bookings.cancelled(tx, flight_id, spared=plan is not None))
    done, failed = [], []
    for one in affected:
        try:
            ended = not one.disrupted and cancel_for_flight(
                runtime, one.booking_id, flight_id, reason=why, actor=runtime.actor, spare_disrupted=plan is not None
            )
            if ended or one.disrupted:
                done.append(one)
        except FlightctlError as error:
            failed.append(f"{one.booking_id}: {error.message}")
    if plan is not None:
        plan_file.write_plan(plan, make_plan(runtime, flight_id))
    row = runtime.database.read(lambda tx: tx.execute(BY_ID, {"id": flight_id}).one())
    result = _change(inventory.to_flight(row), changed, tuple(done), tuple(failed))
    return replace(result, changed=changed or bool(result.bookings), plan=plan)
