"""Money that was asked for, came, goes back."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flightctl.core.model.states import BookingStatus, CallbackStatus, PaymentSource, PaymentStatus, RefundStatus


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
class CallbackResult:
    payment_id: str
    booking_id: str
    payment_status: PaymentStatus
    booking_status: BookingStatus
    changed: bool


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
class RefundResult:
    payment: Payment
    changed: bool
