"""Seats: taken, held and given back. The only code that changes ``flights.available_seats``.

Seats are taken by a conditional UPDATE that itself tests ACTIVE, not departed and enough seats: whatever was read or
locked before, the database alone prevents overbooking. Flights are always visited in sorted order.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import Integer, String, Update, bindparam, case, func, select, update

from flightctl.core import reservations
from flightctl.core.cache import SeatCount
from flightctl.core.database import Conflict, Operation, Transaction
from flightctl.core.errors import InvalidFlightError, InvariantViolationError, NoSeatsAvailableError
from flightctl.core.identifiers import MAX_LEGS
from flightctl.core.model.flights import Flight
from flightctl.core.model.states import FlightStatus, HoldOutcome
from flightctl.core.offers import Offer
from flightctl.core.prepared import Step
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights, seat_reservations
from flightctl.core.sql_functions import gathered, instant, utc_now

T = TypeVar("T")

_TAKE: Final = (
    update(flights)
    .where(
        flights.c.flight_id == bindparam("id"),
        flights.c.status == FlightStatus.ACTIVE.value,
        flights.c.departure_time > utc_now(),
        flights.c.available_seats >= bindparam("n", type_=Integer),
    )
    .values(
        available_seats=flights.c.available_seats - bindparam("n", type_=Integer),
        seat_version=flights.c.seat_version + 1,
    )
)
_GIVE_BACK: Final = (
    update(flights)
    .where(flights.c.flight_id == bindparam("id"))
    .values(
        available_seats=flights.c.available_seats + bindparam("n", type_=Integer),
        seat_version=flights.c.seat_version + 1,
    )
)
_FLIGHTS: Final = select(flights, (flights.c.departure_time <= utc_now()).label("departed")).where(
    flights.c.flight_id.in_(bindparam("ids", expanding=True))
)
# Up to three legs as three parameters (repeated for fewer): no list to expand, so the text can be prepared.
_LEGS = [bindparam(f"leg{number}", type_=String) for number in range(1, MAX_LEGS + 1)]
# No column more than a booking looks at: reading a column's description costs the client as much as its value.
BOOKABLE: Final = select(
    flights.c.flight_id,
    flights.c.source,
    flights.c.destination,
    flights.c.departure_time,
    flights.c.arrival_time,
    flights.c.available_seats,
    flights.c.price,
    flights.c.status,
    (flights.c.departure_time <= utc_now()).label("departed"),
    utc_now().label("now"),
).where(flights.c.flight_id.in_(_LEGS))
_LOCKED_FLIGHTS: Final = _FLIGHTS.order_by(flights.c.flight_id).with_for_update()
_DEPARTURES: Final = (
    select(flights.c.flight_id, flights.c.departure_time)
    .where(flights.c.flight_id.in_(bindparam("ids", expanding=True)))
    .order_by(flights.c.flight_id)
    .with_for_update(read=True)
)
_SEATS: Final = case((flights.c.status == FlightStatus.ACTIVE.value, flights.c.available_seats), else_=0)
# In one row, since a driver in Python takes its time for each: 7,000 flights took 0.16 s one by one, so 0.08 s.
_COUNTS: Final = select(gathered(flights.c.flight_id, _SEATS, flights.c.seat_version)).where(
    flights.c.flight_id.in_(bindparam("ids", expanding=True))
)
_LEG_COUNTS: Final = select(flights.c.flight_id, _SEATS.label("seats"), flights.c.seat_version).where(
    flights.c.flight_id.in_(_LEGS)
)


@cache
def _at_terms(take: Update) -> Update:
    """``take`` for whoever read price and times some time ago."""
    return take.where(
        flights.c.price == bindparam("costs", type_=flights.c.price.type),
        instant(flights.c.departure_time) == bindparam("departs", type_=flights.c.departure_time.type),
        instant(flights.c.arrival_time) == bindparam("arrives", type_=flights.c.arrival_time.type),
    )


def to_flight(row: Any) -> Flight:
    """A row of ``flights`` as the model's record."""
    return Flight(
        flight_id=row.flight_id,
        source=row.source,
        destination=row.destination,
        departure_time=row.departure_time,
        arrival_time=row.arrival_time,
        departure_date=row.departure_date,
        total_seats=row.total_seats,
        available_seats=row.available_seats,
        seat_version=row.seat_version,
        price=row.price,
        status=FlightStatus(row.status),
        carrier=row.carrier,
        flight_number=row.flight_number,
    )


def require_bookable(tx: Transaction, flight_ids: Sequence[str]) -> list[Flight]:
    """The flights in the order asked for. Raises InvalidFlightError for an unknown, cancelled or departed one."""
    return [to_flight(row) for row in bookable(flight_ids, tx.execute(_FLIGHTS, {"ids": list(flight_ids)}))]


def bookable(flight_ids: Sequence[str], found: Iterable[Any]) -> list[Any]:
    """The rows found, in the order asked for; raises as ``require_bookable`` does."""
    rows = {row.flight_id: row for row in found}
    # A cancelled flight is told before one that has departed: it decides how a paid booking ends.
    for flight_id in sorted(flight_ids, key=lambda one: one in rows and bool(rows[one].departed)):
        _check(flight_id, rows.get(flight_id))
    return [rows[flight_id] for flight_id in flight_ids]


def leg_parameters(flight_ids: Sequence[str]) -> dict[str, str]:
    """Parameters of BOOKABLE and of the counts at the end of ``take_steps``, for one to three flights."""
    return {f"leg{number + 1}": flight_ids[min(number, len(flight_ids) - 1)] for number in range(MAX_LEGS)}


def take_steps(
    booking_id: str, offers: Iterable[Offer], seats: int, *, now: datetime, expires_at: datetime
) -> list[Step]:
    """Take the seats and write their holds, in sorted order; the batch fails by NOT_TAKEN unless all can be had, at the
    price and time offered."""
    steps = []
    by_flight = {offer.flight_id: offer for offer in offers}
    for flight_id in sorted(by_flight):
        offer = by_flight[flight_id]
        terms = {"costs": offer.price, "departs": offer.departure_time, "arrives": offer.arrival_time}
        steps.append(Step(_at_terms(_TAKE), {"id": flight_id, "n": seats, **terms}))
        hold = {
            "booking_id": booking_id,
            "flight_id": flight_id,
            "n": seats,
            "created_at": now,
            "expires_at": expires_at,
        }
        steps.append(Step(reservations.ADD_IF_TAKEN, hold))
    return steps


def counts_step(flight_ids: Sequence[str]) -> Step:
    """What the cache should say of one to three flights, as the last step of a batch."""
    return Step(_LEG_COUNTS, leg_parameters(flight_ids))


def _check(flight_id: str, row: Any) -> None:
    details = {"flightId": flight_id}
    if row is None:
        raise InvalidFlightError(f"there is no flight {flight_id[:60]}", details=details)
    if row.status != FlightStatus.ACTIVE.value:
        raise InvalidFlightError(f"flight {flight_id} is cancelled", details={**details, "reason": "cancelled"})
    if row.departed:
        raise InvalidFlightError(f"flight {flight_id} has departed", details={**details, "reason": "departed"})


def no_seats(flight_id: str, wanted: int, available: int) -> NoSeatsAvailableError:
    left = "no seat is" if available == 0 else f"only {available} are" if available > 1 else "only 1 is"
    return NoSeatsAvailableError(
        f"{left} left on {flight_id}, {wanted} asked for",
        details={"flightId": flight_id, "requested": wanted, "available": available},
    )


def take(tx: Transaction, flight_ids: Iterable[str], seats: int) -> None:
    """Take ``seats`` on each flight. Raises NoSeatsAvailableError or InvalidFlightError; the caller rolls back."""
    for flight_id in sorted(flight_ids):
        if tx.change(_TAKE, {"id": flight_id, "n": seats}) != 1:
            row = tx.execute(_FLIGHTS, {"ids": [flight_id]}).first()
            _check(flight_id, row)
            raise no_seats(flight_id, seats, row.available_seats if row else 0)


def can_take(tx: Transaction, flight_ids: Sequence[str], seats: int) -> bool:
    """Whether ``take`` will succeed on all the flights: their rows are locked, in sorted order, until it ends."""
    rows = tx.execute(_LOCKED_FLIGHTS, {"ids": list(flight_ids)}).all()
    return len(rows) == len(set(flight_ids)) and all(
        row.status == FlightStatus.ACTIVE.value and not row.departed and row.available_seats >= seats for row in rows
    )


def give_back(tx: Transaction, seats_by_flight: Mapping[str, int]) -> None:
    """Add the seats to their flights, in sorted order; all in one round trip, for sweeps of hundreds of flights."""
    steps = [
        Step(_GIVE_BACK, {"id": flight_id, "n": seats_by_flight[flight_id]}) for flight_id in sorted(seats_by_flight)
    ]
    if steps:
        tx.fetch(steps)


def take_flown(tx: Transaction, seats_by_flight: Mapping[str, int]) -> None:
    """Take seats back from flights that have departed, for a booking that flew with them and had been archived."""
    give_back(tx, {flight_id: -seats for flight_id, seats in seats_by_flight.items()})


def retake(tx: Transaction, booking_id: str, flight_ids: Sequence[str], seats: int) -> None:
    """Take an expired booking's seats again, for late money: new reservations that are born ended as CONFIRMED.

    The rows must have been found free and locked by ``can_take``; raises Conflict if they changed all the same.
    """
    try:
        take(tx, flight_ids, seats)
    except (NoSeatsAvailableError, InvalidFlightError) as error:
        raise Conflict from error
    now: datetime = tx.execute(select(utc_now())).scalar_one()
    reservations.add(tx, booking_id, flight_ids, seats, now=now, expires_at=now, ended_as=HoldOutcome.CONFIRMED)


def lock_flights(tx: Transaction, flight_ids: Iterable[str]) -> dict[str, Any]:
    """The flights' rows by id, locked in sorted order until the transaction ends; ``departed`` is the clock's word."""
    return {row.flight_id: row for row in tx.execute(_LOCKED_FLIGHTS, {"ids": sorted(flight_ids)})}


def look_at_flights(tx: Transaction, flight_ids: Iterable[str]) -> dict[str, Any]:
    """As ``lock_flights``, without a lock: for who only wants to know."""
    return {row.flight_id: row for row in tx.execute(_FLIGHTS, {"ids": sorted(flight_ids)})}


def move_seats(
    tx: Transaction, booking_id: str, *, leaving: Collection[str], entering: Collection[str], seats: int
) -> None:
    """Move a locked CONFIRMED booking's seats from some flights to others, whose rows ``lock_flights`` has locked.

    Its reservations of the flights it leaves end as RELEASED after all, those of the others are born CONFIRMED. Raises
    Conflict where the seats are gone all the same, and InvariantViolationError where it has not one CONFIRMED
    reservation on each flight that it leaves.
    """
    try:
        take(tx, entering, seats)
    except (NoSeatsAvailableError, InvalidFlightError) as error:
        raise Conflict from error
    now: datetime = tx.execute(select(utc_now())).scalar_one()
    if leaving and reservations.release_confirmed(tx, booking_id, leaving) != len(leaving):
        raise InvariantViolationError(
            f"booking {booking_id} has not one confirmed reservation on each of its legs",
            details={"bookingId": booking_id},
        )
    give_back(tx, dict.fromkeys(leaving, seats))
    if entering:
        outcome = HoldOutcome.CONFIRMED
        reservations.add(tx, booking_id, sorted(entering), seats, now=now, expires_at=now, ended_as=outcome)


def departures(tx: Transaction, flight_ids: Iterable[str]) -> dict[str, datetime]:
    """When the flights depart. Their rows stay share-locked, in sorted order: no departure moves before the end."""
    return {row.flight_id: row.departure_time for row in tx.execute(_DEPARTURES, {"ids": sorted(set(flight_ids))})}


def release_holds(tx: Transaction, booking_id: str, outcome: HoldOutcome) -> None:
    """End the booking's holds as RELEASED or EXPIRED and give their seats back."""
    freed: dict[str, int] = {}
    for hold in reservations.lock_open(tx, [booking_id]):
        freed[hold.flight_id] = freed.get(hold.flight_id, 0) + hold.seats
    reservations.end(tx, [booking_id], outcome)
    give_back(tx, freed)


def give_back_part(tx: Transaction, booking_id: str, flight_ids: Sequence[str], seats: int) -> None:
    """Give ``seats`` of a locked PENDING or CONFIRMED booking back on every leg; its reservations shrink with them.

    Raises InvariantViolationError where its reservations are not one for each leg: nothing is then given back.
    """
    changed = reservations.shrink(tx, booking_id, seats)
    if changed != len(flight_ids):
        raise InvariantViolationError(
            f"booking {booking_id} has {changed} reservations that could shrink, and {len(flight_ids)} legs",
            details={"bookingId": booking_id},
        )
    give_back(tx, dict.fromkeys(flight_ids, seats))


def set_available(tx: Transaction, flight_id: str, seats: int) -> None:
    """Set a locked flight's available seats: for audit, which has counted its bookings and holds."""
    tx.change(
        update(flights)
        .where(flights.c.flight_id == flight_id)
        .values(available_seats=seats, seat_version=flights.c.seat_version + 1)
    )


def counts(tx: Transaction, flight_ids: Iterable[str]) -> dict[str, SeatCount]:
    """What the cache should say of the flights: a flight that is not ACTIVE counts 0."""
    [[(lines,)]] = tx.fetch([Step(_COUNTS, {"ids": list(flight_ids)})])
    texts = lines.split("\n") if lines else []
    ids, seats, versions = texts[::3], map(int, texts[1::3]), map(int, texts[2::3])
    return dict(zip(ids, map(SeatCount, seats, versions), strict=True))


def publish(runtime: Runtime, flight_ids: Sequence[str]) -> None:
    """Bring the cache up to date outside a change of seats; what is newer there stays."""
    if runtime.cache.enabled:
        runtime.cache.publish_seats(runtime.database.read(lambda tx: counts(tx, flight_ids)))


def to_counts(rows: Iterable[Any]) -> dict[str, SeatCount]:
    return {row.flight_id: SeatCount(int(row.seats), row.seat_version) for row in rows}


def change_seats(
    runtime: Runtime, flight_ids: Sequence[str], work: Callable[[Transaction], T], operation: Operation | None = None
) -> T:
    """Run ``work``, which changes seats of the flights: under their locks, and with the new counts published after."""

    def with_counts(tx: Transaction) -> tuple[T, dict[str, SeatCount]]:
        result = work(tx)
        return result, counts(tx, flight_ids) if runtime.cache.enabled else {}

    with runtime.locks.hold(flight_ids) as held:
        result, fresh = runtime.database.run(with_counts, operation=operation)
        held.publish(fresh)
    return result


def seats_on(tx: Transaction, flight_id: str) -> Any:
    """``total, available, held, confirmed`` seats of one flight, None when there is none."""
    from flightctl.core.model.states import BookingStatus
    from flightctl.core.schema import booking_flights, bookings

    held = (
        select(func.coalesce(func.sum(seat_reservations.c.seats), 0))
        .where(seat_reservations.c.flight_id == flights.c.flight_id, seat_reservations.c.deleted_at.is_(None))
        .scalar_subquery()
    )
    confirmed = (
        select(func.coalesce(func.sum(bookings.c.seats), 0))
        .select_from(bookings.join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id))
        .where(booking_flights.c.flight_id == flights.c.flight_id, bookings.c.status == BookingStatus.CONFIRMED.value)
        .scalar_subquery()
    )
    return tx.execute(
        select(flights, held.label("held"), confirmed.label("confirmed")).where(flights.c.flight_id == flight_id)
    ).first()
