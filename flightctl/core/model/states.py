"""States, and their allowed transitions."""

from enum import StrEnum
from typing import Final


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
