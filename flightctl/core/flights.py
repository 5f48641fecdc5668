"""The flights themselves: shown, added, changed and cancelled."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError

from flightctl.core import affected_bookings, disruption, inventory, plan_file, records, schedule
from flightctl.core.amounts import parse_amount
from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.errors import InvalidFlightError, InvalidStateError, ValidationError
from flightctl.core.flight_cancellation import cancel, preview_cancel
from flightctl.core.flight_rows import BY_ID, require
from flightctl.core.identifiers import normal_id, parse_identifier
from flightctl.core.index_hints import by_booking
from flightctl.core.model.flights import Flight, FlightChange, FlightSeats, Quote
from flightctl.core.model.states import FlightStatus
from flightctl.core.network import zone
from flightctl.core.replan import make_plan
from flightctl.core.routing import to_microseconds
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights, seat_reservations
from flightctl.core.timetable import EARLIEST, LATEST, ScheduledFlight, build_flight
from flightctl.core.timetable_row import MAX_FLIGHT_TIME

__all__ = ["add", "cancel", "preview_cancel", "seats", "show", "update"]

_LOCKED: Final = BY_ID.with_for_update()


def show(runtime: Runtime, identifier: str) -> Quote:
    """What an identifier stands for, whatever the flights' state or times.

    Raises InvalidFlightError for an unknown flight, and for legs that do not lead from the source to the destination.
    """
    kind, normal, flight_ids = parse_identifier(identifier)

    def work(tx: Transaction) -> Quote:
        rows = [require(tx.execute(BY_ID, {"id": flight_id}).first(), flight_id) for flight_id in flight_ids]
        return Quote(normal, kind, _joined(normal, tuple(inventory.to_flight(row) for row in rows)))

    return runtime.database.read(work)


def _joined(identifier: str, legs: tuple[Flight, ...]) -> tuple[Flight, ...]:
    if len(legs) > 1:
        source, destination = identifier.split("_")[1:3]
        left, reached = [leg.source for leg in legs], [leg.destination for leg in legs]
        if [source, *reached] != [*left, destination]:
            raise InvalidFlightError(
                f"{identifier} is no itinerary: its legs do not lead from {source} to {destination}",
                details={"flightIdentifier": identifier},
            )
    return legs


def seats(runtime: Runtime, flight_id: str) -> FlightSeats:
    """Raises InvalidFlightError."""
    flight_id = normal_id(flight_id)
    row = require(runtime.database.read(lambda tx: inventory.seats_on(tx, flight_id)), flight_id)
    known = runtime.cache.seat_counts([flight_id]) if runtime.cache.enabled else {}
    cached = known.get(flight_id)
    return FlightSeats(inventory.to_flight(row), int(row.held), int(row.confirmed), cached.seats if cached else None)


def _local(text: str, what: str) -> datetime:
    try:
        local = datetime.fromisoformat(text.strip())
    except ValueError:
        local = None
    if local is None or ":" not in text or local.tzinfo is not None or not EARLIEST <= local.date() <= LATEST:
        raise ValidationError(
            f"{what} {text[:40]!r} is not a local time", hint="Write the airport's local time as 2026-12-01T06:30."
        )
    return local


def add(
    runtime: Runtime,
    *,
    flight: str,
    source: str,
    destination: str,
    departure: str,
    arrival: str,
    seats: int,
    price: str,
) -> FlightChange:
    """Add one flight; times are local at each airport. A flight that is there already and alike is no change.

    Raises ValidationError, UnknownAirportError, InvalidStateError (the same flight with other data is there).
    """
    amount = parse_amount(price, "--price")
    new = build_flight(
        flight, source, destination, _local(departure, "--departure"), _local(arrival, "--arrival"), seats, amount
    )

    def work(tx: Transaction) -> tuple[Flight, bool, int]:
        version = schedule.raise_version(tx, ())
        there = tx.execute(BY_ID, {"id": new.flight_id}).first() or _twin(tx, new)
        if there is not None:
            _require_alike(there, new)
            return inventory.to_flight(there), False, version
        stamp = to_microseconds(schedule.database_now(tx))
        schedule.unpack(tx, [new.departure_time])
        tx.execute(insert(flights), _values(new, stamp))
        return inventory.to_flight(tx.execute(BY_ID, {"id": new.flight_id}).one()), True, version

    try:
        added, changed, version = runtime.database.run(work)
    except IntegrityError as error:  # somebody's own SQL, which does not queue with us
        raise InvalidStateError(f"flight {new.flight_id} was added by somebody else just now") from error
    runtime.cache.publish_schedule_version(version)
    runtime.cache.publish_seats({added.flight_id: SeatCount(added.available_seats, added.seat_version)})
    return FlightChange(added, changed)


def _twin(tx: Transaction, new: ScheduledFlight) -> Any:
    same = select(flights).where(
        flights.c.carrier == new.carrier,
        flights.c.flight_number == new.flight_number,
        flights.c.source == new.source,
        flights.c.departure_date == new.departure_date,
    )
    return tx.execute(same).first()


def _values(new: ScheduledFlight, stamp: int) -> dict[str, Any]:
    return {
        "flight_id": new.flight_id,
        "carrier": new.carrier,
        "flight_number": new.flight_number,
        "source": new.source,
        "destination": new.destination,
        "departure_time": new.departure_time,
        "arrival_time": new.arrival_time,
        "departure_date": new.departure_date,
        "total_seats": new.seats,
        "available_seats": new.seats,
        "seat_version": stamp,
        "price": new.price,
        "status": FlightStatus.ACTIVE.value,
    }


def _require_alike(there: Any, new: ScheduledFlight) -> None:
    ours = (new.source, new.destination, new.departure_time, new.arrival_time, new.seats, new.price)
    theirs = (
        there.source,
        there.destination,
        there.departure_time,
        there.arrival_time,
        there.total_seats,
        there.price,
    )
    if ours != theirs:
        raise InvalidStateError(
            f"flight {there.flight_id} is there already, with other times, seats or price",
            hint=f"`flightctl flights update {there.flight_id}` changes it.",
            details={"flightId": there.flight_id},
        )


def update(
    runtime: Runtime,
    flight_id: str,
    *,
    departure: str | None = None,
    arrival: str | None = None,
    price: str | None = None,
    seats: int | None = None,
    plan: str | None = None,
) -> FlightChange:
    """Change a flight's local times, price (of bookings to come) or seats.

    Bookings whose connections the new times break are marked as disrupted; ``plan`` names the file for their
    re-accommodation plan, and may be all that is asked for. Raises InvalidFlightError, ValidationError;
    InvalidStateError for fewer seats than are sold, with the numbers.
    """
    flight_id = normal_id(flight_id)
    if plan is not None:
        plan_file.require_writable(plan)
    elif departure is None and arrival is None and price is None and seats is None:
        raise ValidationError("nothing to change", hint="Pass --departure, --arrival, --price or --seats.")
    amount = None if price is None else parse_amount(price, "--price")
    departs = None if departure is None else _local(departure, "--departure")
    arrives = None if arrival is None else _local(arrival, "--arrival")

    def work(tx: Transaction) -> tuple[Flight, bool, int]:
        version = schedule.raise_version(tx, ())
        row = require(tx.execute(_LOCKED, {"id": flight_id}).first(), flight_id)
        values = {
            **_new_times(row, departs, arrives),
            **({} if amount is None else {"price": amount}),
            **({} if seats is None else _new_seats(row, seats)),
        }
        values = {name: value for name, value in values.items() if value != getattr(row, name)}
        if values:
            tx.change(
                sql_update(flights)
                .where(flights.c.flight_id == flight_id)
                .values(**values, seat_version=flights.c.seat_version + 1)
            )
            _hold_until_departure(tx, row, values.get("departure_time"))
            if values.keys() - {"total_seats", "available_seats"}:
                schedule.unpack(tx, [row.departure_time, values.get("departure_time", row.departure_time)])
            if "departure_time" in values or "arrival_time" in values:
                disruption.mark_broken(tx, flight_id, runtime.settings["search.min_connection"])
        return inventory.to_flight(tx.execute(BY_ID, {"id": flight_id}).one()), bool(values), version

    flight, changed, version = inventory.change_seats(runtime, [flight_id], work)
    runtime.cache.publish_schedule_version(version)  # a change whose COMMIT got no answer looks like none
    affected = runtime.database.read(lambda tx: affected_bookings.disrupted_by(tx, flight_id))
    if plan is not None:
        plan_file.write_plan(plan, make_plan(runtime, flight_id))
    return FlightChange(flight, changed, affected=affected, plan=plan)


def _new_times(row: Any, departs: datetime | None, arrives: datetime | None) -> dict[str, Any]:
    if departs is None and arrives is None:
        return {}
    leaves = row.departure_time if departs is None else departs.replace(tzinfo=zone(row.source)).astimezone(UTC)
    lands = row.arrival_time if arrives is None else arrives.replace(tzinfo=zone(row.destination)).astimezone(UTC)
    if not timedelta() < lands - leaves <= MAX_FLIGHT_TIME:
        raise ValidationError(f"flight {row.flight_id} would arrive before it departs, or fly for more than two days")
    local_day = leaves.astimezone(zone(row.source)).date()
    if local_day != row.departure_date:
        raise ValidationError(
            f"flight {row.flight_id} departs on {row.departure_date}; a flight of another date is another flight",
            hint="Add that flight, and cancel this one.",
        )
    return {"departure_time": leaves, "arrival_time": lands}


def _new_seats(row: Any, seats: int) -> dict[str, Any]:
    taken = row.total_seats - row.available_seats
    if not 1 <= seats <= 999:
        raise ValidationError(f"--seats goes from 1 to 999, not {seats}")
    if seats < taken:
        raise InvalidStateError(
            f"flight {row.flight_id} has {taken} seats sold or held; it cannot shrink to {seats}",
            hint="Release bookings first, or cancel the flight.",
            details={"flightId": row.flight_id, "taken": taken, "requested": seats},
        )
    return {"total_seats": seats, "available_seats": seats - taken}


def _hold_until_departure(tx: Transaction, before: Any, departure: datetime | None) -> None:
    """A hold never outlives the departure, also when that moves forward; all legs of a booking lapse together."""
    if departure is None or departure >= before.departure_time:
        return
    holders = select(seat_reservations.c.booking_id).where(
        seat_reservations.c.flight_id == before.flight_id, seat_reservations.c.deleted_at.is_(None)
    )
    booking_ids = list(tx.execute(holders).scalars())
    if booking_ids:
        records.touch(tx, booking_ids)
        tx.change(
            by_booking(seat_reservations, sql_update(seat_reservations))
            .where(
                seat_reservations.c.booking_id.in_(booking_ids),
                seat_reservations.c.deleted_at.is_(None),
                seat_reservations.c.expires_at > departure,
            )
            .values(expires_at=departure)
        )
