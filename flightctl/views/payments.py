"""Payments, refunds, and what the processor did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Fields, View, instant, money, text_of

if TYPE_CHECKING:
    from flightctl.core.model.payments import (
        CallbackResult,
        LatePayment,
        Payment,
        ProcessResult,
        RefundResult,
        Rehearsal,
        SignedCallback,
    )


def _payment(record: Payment) -> dict[str, Any]:
    return {
        "paymentId": record.payment_id,
        "bookingId": record.booking_id,
        "amount": money(record.amount),
        "status": record.status.value,
        "source": record.source.value,
        "message": record.message,
        "refundId": record.refund_id,
        "refundDue": money(record.refund_due),
        "refunded": money(record.refunded),
        "retained": money(record.retained),
        "createdAt": instant(record.created_at),
        "updatedAt": instant(record.updated_at),
    }


def _refunded(record: RefundResult) -> Fields:
    return _payment(record.payment) | {"changed": record.changed}


def _callback(record: CallbackResult) -> Fields:
    return {
        "paymentId": record.payment_id,
        "bookingId": record.booking_id,
        "paymentStatus": record.payment_status.value,
        "bookingStatus": record.booking_status.value,
        "changed": record.changed,
    }


def _processed(record: ProcessResult) -> Fields:
    return {
        "claimed": record.claimed,
        "succeeded": record.succeeded,
        "failed": record.failed,
        "timedOut": record.timed_out,
        "refunded": record.refunded,
        "errors": list(record.errors),
    }


def _signed(record: SignedCallback) -> Fields:
    request = record.request
    return {
        "bookingId": request.booking_id,
        "status": request.status.value,
        "paymentId": request.payment_id,
        "amount": None if request.amount is None else money(request.amount),
        "message": request.message,
        "timestamp": record.timestamp,
        "signature": record.signature,
    }


def _rehearsed(record: Rehearsal) -> Fields:
    return {
        "bookingId": record.booking_id,
        "paymentId": record.payment_id,
        "delaySeconds": record.delay_seconds,
        "bookingStatus": record.booking_status.value,
        "paymentStatus": record.payment_status.value,
        "callbacks": [
            {"status": status.value} | {key: value for key, value in _callback(result).items() if key not in _IDS}
            for status, result in zip(record.sent, record.results, strict=True)
        ],
    }


def _flat_rehearsal(fields: Fields) -> Fields:
    told = [f"{one['status']}: {one['bookingStatus']}, {one['paymentStatus']}" for one in fields["callbacks"]]
    return {**fields, "callbacks": "; ".join(told)}


def _late(record: LatePayment) -> Fields:
    paid = _payment(record.payment)
    return {
        "paymentId": paid["paymentId"],
        "bookingId": paid["bookingId"],
        "bookingStatus": record.booking_status.value,
        "userId": record.user_id,
        "flightIdentifier": record.flight_identifier,
        "amount": paid["amount"],
        "status": paid["status"],
        "source": paid["source"],
        "message": paid["message"],
        "refundId": paid["refundId"],
        "refundStatus": None if record.refund_status is None else record.refund_status.value,
        "createdAt": paid["createdAt"],
        "updatedAt": paid["updatedAt"],
    }


_IDS: Final = ("paymentId", "bookingId")
_PAYMENT_COLUMNS: Final = (
    "paymentId", "bookingId", "amount", "status", "source", "message", "refundId", "refundDue", "refunded",
    "retained", "createdAt", "updatedAt",
)  # fmt: skip

PAYMENT: Final = View(
    _payment,
    _PAYMENT_COLUMNS,
    cells=(
        text_of("paymentId", "payment"),
        text_of("bookingId", "booking"),
        text_of("amount", right=True),
        text_of("status"),
        text_of("source"),
        text_of("refundDue", "due back", right=True),
        text_of("createdAt", "created"),
    ),
    id_keys=("paymentId",),
)
REFUNDED: Final = View(_refunded, (*_PAYMENT_COLUMNS, "changed"), id_keys=("paymentId",))
CALLBACK: Final = View(
    _callback, ("paymentId", "bookingId", "paymentStatus", "bookingStatus", "changed"), id_keys=("paymentId",)
)
PROCESSED: Final = View(_processed, ("claimed", "succeeded", "failed", "timedOut", "refunded", "errors"))
SIGNED: Final = View(
    _signed,
    ("bookingId", "status", "paymentId", "amount", "message", "timestamp", "signature"),
    id_keys=("signature",),
)
_REHEARSED_COLUMNS: Final = ("bookingId", "paymentId", "delaySeconds", "bookingStatus", "paymentStatus", "callbacks")
_HEARD: Final = View(
    dict,
    ("status", "paymentStatus", "bookingStatus", "changed"),
    cells=(
        text_of("status", "callback"),
        text_of("paymentStatus", "payment"),
        text_of("bookingStatus", "booking"),
        text_of("changed"),
    ),
)
REHEARSED: Final = View(
    _rehearsed, _REHEARSED_COLUMNS, id_keys=("bookingId",), flat=_flat_rehearsal, nested=("callbacks", _HEARD)
)
LATE: Final = View(
    _late,
    (
        "paymentId", "bookingId", "bookingStatus", "userId", "flightIdentifier", "amount", "status", "source",
        "message", "refundId", "refundStatus", "createdAt", "updatedAt",
    ),
    cells=(
        text_of("paymentId", "payment"),
        text_of("bookingId", "booking"),
        text_of("bookingStatus", "it is"),
        text_of("amount", right=True),
        text_of("status"),
        text_of("source"),
        text_of("message", "why", prose=True),
    ),
    id_keys=("paymentId",),
)  # fmt: skip
