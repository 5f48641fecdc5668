"""Payments, refunds, and what the processor did."""

from typing import Any, Final

from flightctl.core import model
from flightctl.views.base import Fields, View, instant, money, text_of


def _payment(record: model.Payment) -> dict[str, Any]:
    return {
        "paymentId": record.payment_id,
        "bookingId": record.booking_id,
        "amount": money(record.amount),
        "status": record.status.value,
        "source": record.source.value,
        "message": record.message,
        "refundId": record.refund_id,
        "createdAt": instant(record.created_at),
        "updatedAt": instant(record.updated_at),
    }


def _refunded(record: model.RefundResult) -> Fields:
    return _payment(record.payment) | {"changed": record.changed}


def _callback(record: model.CallbackResult) -> Fields:
    return {
        "paymentId": record.payment_id,
        "bookingId": record.booking_id,
        "paymentStatus": record.payment_status.value,
        "bookingStatus": record.booking_status.value,
        "changed": record.changed,
    }


def _processed(record: model.ProcessResult) -> Fields:
    return {
        "claimed": record.claimed,
        "succeeded": record.succeeded,
        "failed": record.failed,
        "timedOut": record.timed_out,
        "refunded": record.refunded,
        "errors": list(record.errors),
    }


_PAYMENT_COLUMNS: Final = (
    "paymentId", "bookingId", "amount", "status", "source", "message", "refundId", "createdAt", "updatedAt",
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
        text_of("createdAt", "created"),
    ),
    id_keys=("paymentId",),
)
REFUNDED: Final = View(_refunded, (*_PAYMENT_COLUMNS, "changed"), id_keys=("paymentId",))
CALLBACK: Final = View(
    _callback, ("paymentId", "bookingId", "paymentStatus", "bookingStatus", "changed"), id_keys=("paymentId",)
)
PROCESSED: Final = View(_processed, ("claimed", "succeeded", "failed", "timedOut", "refunded", "errors"))
