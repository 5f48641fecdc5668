"""The words of the domain: states, their allowed transitions, and the frozen records that use cases return.

Units: seats are whole seats; money is an exact ``Decimal`` with two places; instants are timezone-aware UTC
``datetime`` with microseconds; ``departure_date`` is the local calendar date at the origin.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from flightctl.core.search_trace import SearchTrace


class FlightStatus(StrEnum):
    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"


class FlightType(StrEnum):
    DIRECT = "DIRECT"
    COMPUTED = "COMPUTED"


class BookingStatus(StrEnum):
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class HoldOutcome(StrEnum):
    """How a reservation ended; an active one has none."""

    CONFIRMED = "CONFIRMED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


class PaymentStatus(StrEnum):
    REQUESTED = "REQUESTED"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REFUND_DUE = "REFUND_DUE"
    REFUNDED = "REFUNDED"


class PaymentSource(StrEnum):
    GATEWAY = "GATEWAY"
    AGENT = "AGENT"


class RefundStatus(StrEnum):
    DUE = "DUE"
    PAID = "PAID"


class CallbackStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


class ForcedOutcome(StrEnum):
    """What an operator can make the mock gateway answer."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"


_B = BookingStatus
BOOKING_TRANSITIONS: Final[dict[BookingStatus, frozenset[BookingStatus]]] = {
    _B.PENDING: frozenset({_B.CONFIRMED, _B.FAILED, _B.CANCELLED, _B.EXPIRED}),
    _B.CONFIRMED: frozenset({_B.CANCELLED}),
    _B.EXPIRED: frozenset({_B.CONFIRMED}),  # late money while the seats can still be had
    _B.FAILED: frozenset(),
    _B.CANCELLED: frozenset(),
}

_P = PaymentStatus
PAYMENT_TRANSITIONS: Final[dict[PaymentStatus, frozenset[PaymentStatus]]] = {
    _P.REQUESTED: frozenset({_P.PROCESSING, _P.SUCCESS, _P.FAILED, _P.CANCELLED, _P.REFUND_DUE}),
    _P.PROCESSING: frozenset({_P.SUCCESS, _P.FAILED, _P.REFUND_DUE}),
    _P.FAILED: frozenset(
        {_P.SUCCESS, _P.REFUND_DUE}
    ),  # SUCCESS only by an agent's confirm; a late callback is due back
    _P.CANCELLED: frozenset({_P.SUCCESS, _P.REFUND_DUE}),
    _P.SUCCESS: frozenset({_P.REFUND_DUE}),
    _P.REFUND_DUE: frozenset({_P.REFUNDED}),
    _P.REFUNDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Flight:
    """One departure of one aircraft on one date."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    departure_date: date
    total_seats: int
    available_seats: int
    seat_version: int
    price: Decimal
    status: FlightStatus
    carrier: str | None = None
    flight_number: str | None = None


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
class Payment:
    payment_id: str
    booking_id: str
    amount: Decimal
    status: PaymentStatus
    source: PaymentSource
    message: str | None
    created_at: datetime
    updated_at: datetime
    refund_id: str | None = None
    """Latest refund of it, if any."""
    refund_due: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    retained: Decimal = Decimal(0)
    """Kept by the rules of a release: it is neither owed nor does it pay for seats."""


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


@dataclass(frozen=True, slots=True)
class CallbackResult:
    payment_id: str
    booking_id: str
    payment_status: PaymentStatus
    booking_status: BookingStatus
    changed: bool


@dataclass(frozen=True, slots=True)
class SweepResult:
    expired_bookings: int = 0
    expired_reservations: int = 0
    seats_released: int = 0
    flights: int = 0
    took_ms: int = 0
    skipped: tuple[str, ...] = ()
    """Booking ids that could not be swept; the command exits 9 when there are any."""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """``kept`` bookings of flown flights stay: something about them is open, or they fly again."""

    flights: int
    bookings: int
    kept: int
    before: date
    took_ms: int


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """Counts of one run of the payment processor."""

    claimed: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    refunded: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    flight_id: str | None
    booking_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Disruption:
    """A CONFIRMED booking whose itinerary ``flight_id`` broke (cancelled, or moved away from a connection), and that
    waits to be moved since ``since``."""

    booking_id: str
    flight_id: str
    flight_identifier: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Reaccommodated:
    """What became of one booking of a plan. ``outcome``: moved, cancelled, unchanged or failed; ``delay_minutes``
    (negative: earlier) of one that was moved; ``damaged``: it failed because its own records do not add up."""

    booking_id: str
    outcome: str
    before: str | None
    after: str | None
    delay_minutes: int | None
    detail: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class ReaccommodateResult:
    bookings: tuple[Reaccommodated, ...]

    def count(self, outcome: str) -> int:
        return sum(booking.outcome == outcome for booking in self.bookings)


@dataclass(frozen=True, slots=True)
class AuditResult:
    flights_checked: int
    bookings_checked: int
    violations: tuple[Violation, ...]
    repaired: tuple[str, ...] = ()
    disrupted: tuple[Disruption, ...] = ()
    """Bookings that wait for their re-accommodation: no violations."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first. ``content`` holds model records."""

    content: tuple[object, ...]
    page: int
    size: int
    total_elements: int


@dataclass(frozen=True, slots=True)
class ItineraryLeg:
    """A leg as search prints it. Times are UTC instants; renderers give them the airport's offset."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    price: Decimal
    available_seats: int


@dataclass(frozen=True, slots=True)
class Itinerary:
    flight_identifier: str
    type: FlightType
    legs: tuple[ItineraryLeg, ...]

    @property
    def price(self) -> Decimal:
        """Per seat, over all legs."""
        return sum((leg.price for leg in self.legs), Decimal(0))

    @property
    def available_seats(self) -> int:
        return min(leg.available_seats for leg in self.legs)

    @property
    def duration_minutes(self) -> int:
        return int((self.legs[-1].arrival_time - self.legs[0].departure_time).total_seconds() // 60)


@dataclass(frozen=True, slots=True)
class SearchResult:
    content: tuple[Itinerary, ...]
    page: int
    size: int
    total_elements: int
    warnings: tuple[str, ...] = field(default=())
    trace: SearchTrace = field(default_factory=SearchTrace, compare=False)
    without_filters: int | None = None
    """How many there would be, where the filters leave none."""

    @property
    def total_pages(self) -> int:
        return -(-self.total_elements // self.size)


def itinerary_identifier(flight_ids: tuple[str, ...], source: str, destination: str) -> str:
    """The flight id itself for one leg, ``CF_SRC_DST_id_id…`` for more."""
    return flight_ids[0] if len(flight_ids) == 1 else "_".join(("CF", source, destination, *flight_ids))


@dataclass(frozen=True, slots=True)
class FareDay:
    """``date`` is local at the origin; ``cheapest`` is None on a day without an itinerary, and on one that is past."""

    date: date
    cheapest: Itinerary | None
    total_elements: int


@dataclass(frozen=True, slots=True)
class FareCalendar:
    """The lowest price of each day around ``date``, for a party of ``seats``; prices are per seat."""

    source: str
    destination: str
    seats: int
    date: date
    content: tuple[FareDay, ...]
    trace: SearchTrace = field(default_factory=SearchTrace, compare=False)


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """As typed; the first three hold airports or carriers, or lists of them with commas."""

    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    max_price: str | None = None
    max_duration: str | None = None
    depart_between: str | None = None


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """``date``: ``YYYY-MM-DD``, ``today`` (the origin's), ``tomorrow`` or ``+3d``; ``sort``: a key of the result."""

    source: str
    destination: str
    date: str
    seats: int = 1
    max_hops: int = 3
    sort: str = "price"
    descending: bool = False
    page: int = 0
    size: int = 20
    filters: SearchFilters = SearchFilters()


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """What a gateway reports of a booking's payment; the latest payment when ``payment_id`` is None."""

    booking_id: str
    status: CallbackStatus
    payment_id: str | None = None
    amount: Decimal | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class SignedCallback:
    """A report with its signature (hexadecimal) and the Unix seconds that it was signed at."""

    request: CallbackRequest
    timestamp: str
    signature: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was played through with one payment: ``sent`` in the order of arrival, and how each callback ended."""

    booking_id: str
    payment_id: str
    delay_seconds: float
    sent: tuple[CallbackStatus, ...]
    results: tuple[CallbackResult, ...]
    payment_status: PaymentStatus
    booking_status: BookingStatus


@dataclass(frozen=True, slots=True)
class LatePayment:
    """Money that came and has no seat. ``refund_status`` is None while nothing is owed back yet."""

    payment: Payment
    booking_status: BookingStatus
    user_id: str
    flight_identifier: str
    refund_status: RefundStatus | None


@dataclass(frozen=True, slots=True)
class SeedRequest:
    """``dataset`` demo or india, unless a schedule ``file`` is given; ``start`` is ``today``, ``+3d`` or a date."""

    dataset: str = "demo"
    file: str | None = None
    start: str = "today"
    days: int = 30
    reset: bool = False


@dataclass(frozen=True, slots=True)
class SeedResult:
    """``flights`` of the source in the range, there already or not; ``added`` now; ``rejected`` (line, reason)."""

    flights: int
    added: int
    airports: int
    first_day: date
    last_day: date
    rejected: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """What an itinerary identifier stands for now."""

    flight_identifier: str
    flight_type: FlightType
    flights: tuple[Flight, ...]

    @property
    def total_price(self) -> Decimal:
        """Per seat, over all legs."""
        return sum((flight.price for flight in self.flights), Decimal(0))


@dataclass(frozen=True, slots=True)
class FlightSeats:
    """Where a flight's seats are. ``cached`` is what Redis says (None: nothing)."""

    flight: Flight
    held: int
    confirmed: int
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class AffectedBooking:
    """What a change of its flight makes of a booking. ``refund`` goes back; ``disrupted``: it waits to be moved."""

    booking_id: str
    user_id: str
    seats: int
    before: BookingStatus
    after: BookingStatus
    disrupted: bool
    refund: Decimal


@dataclass(frozen=True, slots=True)
class FlightChange:
    """Of ``flights add``, ``update`` and ``cancel``. ``bookings``: those that a cancellation ended; ``refunds_due``:
    the money of these that goes back; ``failed``: bookings that could not be ended now (the sweep will); ``affected``:
    every booking that the change does something to; ``plan``: the file that was written."""

    flight: Flight
    changed: bool
    bookings: tuple[str, ...] = ()
    refunds_due: Decimal = Decimal(0)
    failed: tuple[str, ...] = ()
    affected: tuple[AffectedBooking, ...] = ()
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class RefundResult:
    payment: Payment
    changed: bool


@dataclass(frozen=True, slots=True)
class PrecomputeResult:
    routes: int
    days: int
    took_ms: int


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of ``doctor``: ``state`` is ok, warning or failed."""

    name: str
    state: str
    detail: str
    hint: str | None = None


class DifferenceKind(StrEnum):
    """Of a flight, between a schedule file and what is loaded."""

    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"


class ImportOutcome(StrEnum):
    """What an import will do with a difference, or has done."""

    ADD = "add"
    UPDATE = "update"
    REINSTATE = "reinstate"
    CANCEL = "cancel"
    LEAVE = "leave"
    ADDED = "added"
    UPDATED = "updated"
    REINSTATED = "reinstated"
    CANCELLED = "cancelled"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value of a flight: as it is loaded, and as the file has it. ``name`` is its JSON key."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class FlightDifference:
    """Times are the file's, or those loaded of a flight that is gone. ``bookings`` and ``booked_seats``: PENDING and
    CONFIRMED ones on it."""

    kind: DifferenceKind
    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    outcome: ImportOutcome
    bookings: int = 0
    booked_seats: int = 0
    changes: tuple[FieldChange, ...] = ()
    reason: str | None = None
    """Why it is left as it is."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """``start`` and ``days`` are the file's own when None. ``cancel_booked``: cancel flights that are gone although
    they have bookings; ``keep_gone``: the file is not the whole schedule, so no flight is gone; ``reinstate``: flights
    of the file that are cancelled fly again."""

    file: str
    start: str | None = None
    days: int | None = None
    cancel_booked: bool = False
    keep_gone: bool = False
    reinstate: bool = False


@dataclass(frozen=True, slots=True)
class ImportResult:
    """``differences``: all but new flights beyond the first few thousand, which ``new`` counts all the same;
    ``flights`` of the file in the range, of which ``cancelled`` are cancelled here and stay so."""

    file: str
    first_day: date
    last_day: date
    applied: bool
    rows: int
    rejected: tuple[tuple[int, str], ...]
    codeshares: int
    notes: tuple[str, ...]
    flights: int
    unchanged: int
    cancelled: int
    new: int
    differences: tuple[FlightDifference, ...]

    def count(self, kind: DifferenceKind) -> int:
        """Of changed or gone flights."""
        return sum(difference.kind is kind for difference in self.differences)

    @property
    def left(self) -> tuple[FlightDifference, ...]:
        """What the import does not touch, for each a reason."""
        return tuple(d for d in self.differences if d.outcome in {ImportOutcome.LEAVE, ImportOutcome.LEFT})

    @property
    def to_do(self) -> int:
        """Flights that the import will change, or has changed."""
        return self.new + sum(d.kind is not DifferenceKind.NEW for d in self.differences) - len(self.left)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """``first``: a date, ``today``, ``+3d``; ``days``: until the last flight when None; ``carrier``: all when None."""

    ssim: bool = False
    first: str = "today"
    days: int | None = None
    carrier: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A row of a schedule file; ``days`` are weekdays (1 = Monday) at the origin, times local at each airport."""

    carrier: str
    flight_number: str
    origin: str
    destination: str
    departure_local: str
    arrival_local: str
    arrival_day_offset: int
    days: str
    valid_from: date
    valid_to: date
    seats: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class ExportResult:
    """``text`` of the file; ``left_out``: flights that no file can tell, with the reason."""

    text: str
    rows: tuple[ExportedRow, ...]
    flights: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A booking on a flight, which is its ``leg_order``-th of ``legs``; ``paid`` is what was paid for the whole booking
    and is not to go back, None: nothing."""

    booking_id: str
    user_id: str
    seats: int
    status: BookingStatus
    flight_identifier: str
    leg_order: int
    legs: int
    total_price: Decimal
    paid: Decimal | None
    created_at: datetime
