"""Leases on due payments: no two processors work on the same one, and what a dead one had is taken over.

Payments are found outside the transaction, locked and looked at again inside it, and moved by UPDATEs that name the
state they were seen in: on a cluster, where locks are local to a node, that guard and the commit decide.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, Select, Update, bindparam, func, or_, select, update

from flightctl.core.database import Conflict, Transaction
from flightctl.core.index_hints import by_id
from flightctl.core.model.states import BookingStatus, PaymentStatus
from flightctl.core.prepared import Step
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, payments, seat_reservations
from flightctl.core.sql_functions import utc_now

PROCESSOR: Final = "payment processor"
"""The actor of events that it writes."""
_MAX_LEASE: Final = 3600.0
_CROWD: Final = 8
"""Processors that find work side by side."""

# The earliest end: the sweep ends a booking with its first leg's hold. No EXISTS: MariaDB would answer that by reading
# every hold there is.
_HOLD_RUNS: Final = (
    select(func.min(seat_reservations.c.expires_at))
    .where(seat_reservations.c.booking_id == payments.c.booking_id, seat_reservations.c.deleted_at.is_(None))
    .scalar_subquery()
) > utc_now()
BOOKING_PENDING: Final = (
    select(bookings.c.booking_id)
    .where(bookings.c.booking_id == payments.c.booking_id, bookings.c.status == BookingStatus.PENDING.value)
    .exists()
)
_NEW: Final = (payments.c.status == PaymentStatus.REQUESTED.value) & BOOKING_PENDING & _HOLD_RUNS
_ABANDONED: Final = (payments.c.status == PaymentStatus.PROCESSING.value) & or_(
    payments.c.claimed_until.is_(None), payments.c.claimed_until <= utc_now()
)
_LOOK_AGAIN: Final = by_id(
    payments,
    select(
        payments.c.payment_id,
        payments.c.booking_id,
        payments.c.amount,
        payments.c.status,
        payments.c.outcome,
        payments.c.attempts,
    )
    .where(payments.c.payment_id.in_(bindparam("ids", expanding=True)), or_(_NEW, _ABANDONED))
    .order_by(payments.c.payment_id)
    .with_for_update(),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A payment that is ours until its lease runs out; ``recovered`` from a processor that may have charged it."""

    payment_id: str
    booking_id: str
    amount: Decimal
    outcome: str | None
    recovered: bool


_OLDEST: Final = select(payments.c.payment_id).order_by(payments.c.created_at).limit(bindparam("most", type_=Integer))
# Each in the order of one index, whose second column is the lease: a new payment has none.
_WAITING: Final = _OLDEST.where(payments.c.status == PaymentStatus.REQUESTED.value, payments.c.claimed_until.is_(None))
_NEW_ONES: Final = _WAITING.where(_NEW)
_ABANDONED_ONES: Final = _OLDEST.where(_ABANDONED)


def claim_payments(runtime: Runtime, limit: int, booking_id: str | None = None) -> list[Claim]:
    """Lease up to ``limit`` due payments, of one booking only when given."""
    queries = _ABANDONED_ONES, _WAITING
    claims, wanted = _claim(runtime, limit, queries, booking_id)
    if 2 * len(claims) < wanted:
        # What waits in front is not due any more, its holds have lapsed: nothing else may wait behind it for the sweep.
        queries = _ABANDONED_ONES, _NEW_ONES
        claims += _claim(runtime, limit - len(claims), queries, booking_id)[0]
    return claims


def _claim(
    runtime: Runtime, limit: int, queries: Sequence[Select[Any]], booking_id: str | None
) -> tuple[list[Claim], int]:
    """What could be leased, and how many were tried.

    Processors that look at once see the same payments, and all but one would go away empty: each takes its own choice
    out of more than it wants.
    """
    parameters: dict[str, Any] = {"most": limit * _CROWD}
    if booking_id is not None:
        queries = [_of_booking(query) for query in queries]
        parameters["booking"] = booking_id
    found = runtime.database.read(lambda tx: tx.fetch([Step(query, parameters) for query in queries]))
    ids = [row.payment_id for rows in found for row in rows]
    if len(ids) > limit:
        ids = random.sample(ids, limit)
    lease: float = runtime.settings["payments.lease"]
    return runtime.database.run(lambda tx: _lease(tx, ids, lease)) if ids else [], len(ids)


@cache
def _of_booking(query: Select[Any]) -> Select[Any]:
    return query.where(payments.c.booking_id == bindparam("booking"))


def _lease(tx: Transaction, ids: Sequence[str], lease: float) -> list[Claim]:
    rows = tx.execute(_LOOK_AGAIN, {"ids": sorted(ids)}).all()
    new = [row.payment_id for row in rows if row.status == PaymentStatus.REQUESTED.value]
    if new and tx.change(_lease_new(lease), {"ids": new}) != len(new):
        raise Conflict
    fresh = set(new)
    for row in rows:
        # An unanswered payment is asked for ever more rarely.
        seconds = min(_MAX_LEASE, lease * 2 ** min(row.attempts, 12))
        if row.payment_id not in fresh and tx.change(_lease_abandoned(seconds), {"id": row.payment_id}) != 1:
            raise Conflict
    return [Claim(row.payment_id, row.booking_id, row.amount, row.outcome, row.payment_id not in fresh) for row in rows]


def _leased(seconds: float) -> Update:
    return by_id(payments, update(payments)).values(
        status=PaymentStatus.PROCESSING.value, claimed_until=utc_now(seconds), attempts=payments.c.attempts + 1
    )


def _lease_new(seconds: float) -> Update:
    return (
        _leased(seconds)
        .where(
            payments.c.payment_id.in_(bindparam("ids", expanding=True)),
            payments.c.status == PaymentStatus.REQUESTED.value,
        )
        .values(updated_at=utc_now())
    )


def _lease_abandoned(seconds: float) -> Update:
    return _leased(seconds).where(payments.c.payment_id == bindparam("id"), _ABANDONED)
