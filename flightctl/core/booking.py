"""The booking use case: one transaction claims the key, takes the seats and writes everything that belongs to them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import DBAPIError

from flightctl.core import inventory, records, reservations
from flightctl.core.database import Operation, Transaction
from flightctl.core.database_errors import duplicate_key, translate, violated_check
from flightctl.core.errors import (
    FlightctlError,
    IdempotencyMismatchError,
    InvalidFlightError,
    LockAcquisitionFailedError,
    ServiceUnavailableError,
    ValidationError,
)
from flightctl.core.identifiers import is_readable, new_booking_id, new_payment_id, parse_identifier, storable
from flightctl.core.model.bookings import Booking, BookRequest, BookResult
from flightctl.core.model.states import BookingStatus, FlightType, PaymentSource, PaymentStatus
from flightctl.core.offers import Offer, Quoted
from flightctl.core.prepared import Step
from flightctl.core.routing import check_connection
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, payments
from flightctl.core.settings import Settings
from flightctl.core.waiting import await_payment
from flightctl.core.workers import processor_alive

KEY_LENGTH: Final = 128
USER_LENGTH: Final = 64
MAX_HOLD_SECONDS: Final = 86400
_CLAIM_ATTEMPTS: Final = 20
"""Turns of look-then-claim: each loses only to another run with the same key that was then rolled back."""
_OWN_ID: Final = frozenset({"PRIMARY", "bookings.booking_id"})
_LOOK_AGAIN: Final = _OWN_ID | {reservations.NOT_TAKEN, "uq_bookings_idempotency_key", "bookings.idempotency_key"}
"""Constraints that refuse a claim because the world has moved since the look: the next look tells how."""

_BY_KEY: Final = select(bookings.c.booking_id, bookings.c.status).where(bookings.c.idempotency_key == bindparam("key"))
_ADD_BOOKING: Final = insert(bookings)
_ADD_LEGS: Final = insert(booking_flights)
_ADD_PAYMENT: Final = insert(payments)


@dataclass(frozen=True, slots=True)
class _Order:
    """A request that has passed every check that needs no database."""

    kind: FlightType
    identifier: str
    flight_ids: tuple[str, ...]
    user: str
    seats: int
    key: str
    hold_seconds: float


def book(runtime: Runtime, request: BookRequest) -> BookResult:
    """Hold seats and request the payment; or, for a key that was used, the booking it made, in its present state.

    Raises ValidationError, InvalidFlightError, NoSeatsAvailableError, IdempotencyMismatchError, and what
    ``Database.run`` raises; every one carries ``idempotencyKey`` in its details.
    """
    key = secrets.token_hex(12) if request.idempotency_key is None else request.idempotency_key
    try:
        order = _check_request(runtime.settings, request, key)
        return _book(runtime, order)
    except FlightctlError as error:
        error.details.setdefault("idempotencyKey", key[:KEY_LENGTH])
        raise


def _check_request(settings: Settings, request: BookRequest, key: str) -> _Order:
    user = request.user.strip()
    if not 1 <= len(user) <= USER_LENGTH or not is_readable(user):
        raise ValidationError(
            f"--user takes 1 to {USER_LENGTH} printable characters, not {len(user)}"
            if is_readable(user)
            else "--user has characters that cannot be printed"
        )
    limit = settings["booking.max_seats"]
    if not 1 <= request.seats <= limit:
        raise ValidationError(f"--seats takes 1 to {limit}, not {request.seats}")
    if not 1 <= len(key) <= KEY_LENGTH or not all(" " <= character <= "~" for character in key):
        raise ValidationError(f"--idempotency-key takes 1 to {KEY_LENGTH} printable ASCII characters")
    hold = settings["booking.hold"] if request.ttl_seconds is None else request.ttl_seconds
    if not 1 <= hold <= MAX_HOLD_SECONDS:
        raise ValidationError("--ttl goes from 1s to 24h")
    kind, identifier, flight_ids = parse_identifier(request.identifier)
    return _Order(kind, identifier, flight_ids, user, request.seats, key, float(hold))


def _book(runtime: Runtime, order: _Order) -> BookResult:
    operation = Operation()
    booking_id = new_booking_id()
    quoted = runtime.offers.recall(order.flight_ids)
    if quoted is not None:
        _check_legs(runtime.settings, order, quoted.offers)
    for _ in range(_CLAIM_ATTEMPTS):
        if quoted is None:
            found = runtime.database.read(lambda tx: _look(tx, runtime.settings, order), operation=operation)
            if isinstance(found, Booking):
                # Our own booking, when its COMMIT got no answer: this is the first report of it, not a replay, and its
                # seats are not in the cache yet.
                ours = found.booking_id == booking_id
                if ours:
                    inventory.publish(runtime, found.flight_ids)
                return BookResult(found, replayed=not ours)
            quoted = found
            runtime.offers.remember(quoted)
        try:
            booking = _new_booking(order, booking_id, quoted)
            _claim(runtime, order, booking, quoted.offers, operation)
        except DBAPIError as error:
            name = duplicate_key(error) or violated_check(error)
            if name in _OWN_ID and not operation.commit_unknown:
                booking_id = new_booking_id()
            elif name not in _LOOK_AGAIN:
                raise translate(error) from error
            quoted = None
            runtime.offers.forget(order.flight_ids)
            continue
        return BookResult(booking, replayed=False)
    raise LockAcquisitionFailedError("others keep taking what it needs and giving it back")


def _look(tx: Transaction, settings: Settings, order: _Order) -> Booking | Quoted:
    """The booking that the key made, or what the flights cost and when they fly.

    The flights are read first and the key after: a key whose booking sold the flight out is then seen, whoever
    committed in between. A sold-out flight is refused here, by a plain read and before any lock.
    """
    rows, replays = tx.fetch(
        [Step(inventory.BOOKABLE, inventory.leg_parameters(order.flight_ids)), Step(_BY_KEY, {"key": order.key})]
    )
    if replays:
        return _replay(tx, order, replays[0].booking_id)
    flights = inventory.bookable(order.flight_ids, rows)
    quoted = Quoted([Offer.of(flight) for flight in flights], rows[0].now)
    _check_legs(settings, order, quoted.offers)
    for flight in flights:
        if flight.available_seats < order.seats:
            raise inventory.no_seats(flight.flight_id, order.seats, flight.available_seats)
    return quoted


def _replay(tx: Transaction, order: _Order, booking_id: str) -> Booking:
    booking = records.load_booking(tx, booking_id)
    identifier, seats = records.first_request(tx, booking)
    if (booking.user_id, identifier, seats) != (order.user, order.identifier, order.seats):
        raise IdempotencyMismatchError(
            f"the idempotency key was used for another request: {seats} seat{'s' if seats > 1 else ''} of {identifier}",
            details={"bookingId": booking.booking_id},
        )
    return booking


def _check_legs(settings: Settings, order: _Order, flights: Sequence[Offer]) -> None:
    if order.kind is FlightType.DIRECT:
        return
    epoch = datetime.min.replace(tzinfo=flights[0].departure_time.tzinfo)
    micro = timedelta(microseconds=1)
    legs = [
        (f.flight_id, f.source, f.destination, (f.departure_time - epoch) // micro, (f.arrival_time - epoch) // micro)
        for f in flights
    ]
    minimum, maximum = (round(settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    reason = check_connection(legs, minimum, maximum)
    _, source, destination, *_ = order.identifier.split("_")
    if reason is None and (flights[0].source, flights[-1].destination) != (source, destination):
        reason = (
            f"its legs go from {flights[0].source} to {flights[-1].destination}, not from {source} to {destination}"
        )
    if reason is not None:
        raise InvalidFlightError(
            f"{order.identifier} is no itinerary: {reason}", details={"flightIdentifier": order.identifier}
        )


def _new_booking(order: _Order, booking_id: str, quoted: Quoted) -> Booking:
    offers, now = quoted.offers, quoted.now
    price = sum((offer.price for offer in offers), Decimal(0)) * order.seats
    expires_at = min(now + timedelta(seconds=order.hold_seconds), *(offer.departure_time for offer in offers))
    return Booking(
        booking_id=booking_id,
        user_id=order.user,
        flight_type=order.kind,
        flight_identifier=order.identifier,
        seats=order.seats,
        total_price=price,
        status=BookingStatus.PENDING,
        flight_ids=order.flight_ids,
        expires_at=expires_at,
        created_at=now,
        updated_at=now,
        payment_id=new_payment_id(),
        idempotency_key=order.key,
    )


def _claim(runtime: Runtime, order: _Order, booking: Booking, offers: Sequence[Offer], operation: Operation) -> None:
    """Write the booking and all that belongs to it, in one transaction and one round trip.

    The key comes first (a twin waits at the unique index), the seats before their holds (a hold's foreign key would
    share-lock the flight's row, and two such sharers that both want the seats are a deadlock).
    """
    assert booking.expires_at is not None
    now, price, booking_id = booking.created_at, booking.total_price, booking.booking_id
    payment = {**_payment_values(booking_id, str(booking.payment_id)), "amount": price}
    steps = [
        Step(_ADD_BOOKING, {**_booking_values(order, booking_id), "total_price": price, **_both_times(now)}),
        *inventory.take_steps(booking_id, offers, order.seats, now=now, expires_at=booking.expires_at),
        Step(_ADD_LEGS, _leg_values(order, booking_id)),
        Step(_ADD_PAYMENT, {**payment, **_both_times(now)}),
        Step(records.ADD_EVENT, _event_values(order, booking_id, runtime.actor, operation)),
    ]
    with runtime.locks.hold(order.flight_ids) as held:
        if runtime.cache.enabled:
            steps.append(inventory.counts_step(order.flight_ids))
            held.publish(inventory.to_counts(runtime.database.send(steps, operation=operation)[-1]))
        else:
            runtime.database.send(steps, operation=operation)


def _booking_values(order: _Order, booking_id: str) -> dict[str, Any]:
    return {
        "booking_id": booking_id,
        "user_id": order.user,
        "flight_type": order.kind.value,
        "flight_identifier": order.identifier,
        "seats": order.seats,
        "status": BookingStatus.PENDING.value,
        "idempotency_key": order.key,
    }


def _both_times(now: datetime) -> dict[str, Any]:
    return {"created_at": now, "updated_at": now}


def _leg_values(order: _Order, booking_id: str) -> list[dict[str, Any]]:
    return [
        {"booking_id": booking_id, "leg_order": position, "flight_id": flight_id}
        for position, flight_id in enumerate(order.flight_ids, 1)
    ]


def _payment_values(booking_id: str, payment_id: str) -> dict[str, Any]:
    return {
        "payment_id": payment_id,
        "booking_id": booking_id,
        "status": PaymentStatus.REQUESTED.value,
        "source": PaymentSource.GATEWAY.value,
    }


def _event_values(order: _Order, booking_id: str, actor: str, operation: Operation) -> dict[str, Any]:
    held = " and ".join(order.flight_ids)
    seats = f"{order.seats} seat{'s' if order.seats > 1 else ''}"
    return records.event(
        booking_id,
        None,
        BookingStatus.PENDING,
        actor=actor,
        reason=f"booked: {seats} held on {held}",
        operation_id=operation.id,
    )


def book_and_wait(runtime: Runtime, request: BookRequest, timeout_seconds: float) -> BookResult:
    """Book, then wait for the payment's outcome.

    Raises ServiceUnavailableError at once, with nothing held, when no processor is alive, and what ``await_payment``
    raises.
    """
    key = secrets.token_hex(12) if request.idempotency_key is None else request.idempotency_key
    request = replace(request, idempotency_key=key)
    if not runtime.database.read(lambda tx: processor_alive(tx) or _answered(tx, key)):
        raise ServiceUnavailableError(
            "no payment processor is alive, so waiting would be in vain; nothing was booked",
            hint="Start `flightctl daemon`, or book without --wait.",
            details={"idempotencyKey": key[:KEY_LENGTH]},
        )
    result = book(runtime, request)
    try:
        return await_payment(runtime, result, timeout_seconds)
    except FlightctlError as error:
        error.details.setdefault("idempotencyKey", key[:KEY_LENGTH])
        raise


def _answered(tx: Transaction, key: str) -> bool:
    """Whether the key has made a booking that waits for nothing any more: it is replayed, processor or not."""
    row = tx.execute(_BY_KEY, {"key": storable(key)}).first()
    return row is not None and row.status != BookingStatus.PENDING.value
