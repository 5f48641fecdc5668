"""Bookings, their holds and their ends."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flightctl.core.model.states import BookingStatus, FlightType, HoldOutcome


@dataclass(frozen=True, slots=True)
class Reservation:
    """Seats of one leg kept for one booking; ``deleted_at`` and ``outcome`` are set together when it ends."""

    id: int
    booking_id: str
    flight_id: str
    seats: int
    expires_at: datetime
    created_at: datetime
    deleted_at: datetime | None
    outcome: HoldOutcome | None


@dataclass(frozen=True, slots=True)
class Booking:
    """A customer's order, as ``book``, ``confirm``, ``release`` and ``bookings show`` print it."""

    booking_id: str
    user_id: str
    flight_type: FlightType
    flight_identifier: str
    seats: int
    total_price: Decimal
    status: BookingStatus
    flight_ids: tuple[str, ...]
    expires_at: datetime | None
    """When its hold lapses or lapsed; None only for damaged data."""
    created_at: datetime
    updated_at: datetime
    payment_id: str | None
    idempotency_key: str
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True)
class BookingEvent:
    booking_id: str
    at: datetime
    actor: str
    from_status: BookingStatus | None
    to_status: BookingStatus
    reason: str


@dataclass(frozen=True, slots=True)
class BookRequest:
    identifier: str
    user: str
    seats: int = 1
    idempotency_key: str | None = None
    ttl_seconds: float | None = None
    actor: str = "system"


@dataclass(frozen=True, slots=True)
class BookResult:
    booking: Booking
    replayed: bool


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """Of confirm and release: the booking as it stands now, and whether this call changed it."""

    booking: Booking
    changed: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """The seats that a PENDING booking holds on all its legs: they lapse together. ``seconds_left``, by the database's
    clock, is 0 for one that has lapsed and was not swept yet."""

    booking_id: str
    user_id: str
    flight_identifier: str
    flight_ids: tuple[str, ...]
    seats: int
    created_at: datetime
    expires_at: datetime
    seconds_left: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A booking that one command for many passed over, and why."""

    booking_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExtendResult:
    """Of ``holds extend --all``: bookings whose hold is longer now, and those whose is not."""

    extended: int
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Skipped, ...] = ()
    """Those that could not be reached for want of a lock: asking again may do."""


@dataclass(frozen=True, slots=True)
class RefundQuote:
    """What giving up ``seats`` of a booking brings, were it done now.

    ``price`` is what these seats cost, of which ``refund`` goes back and ``retained`` is kept: both 0 where nothing was
    paid yet, and ``share`` is then None. ``hours_left`` to the first departure by the database's clock.
    """

    booking_id: str
    status: BookingStatus
    seats: int
    seats_left: int
    price: Decimal
    share: Decimal | None
    refund: Decimal
    retained: Decimal
    hours_left: Decimal
