"""What an operator watches, read from the database: holds, the sweep's lag, payments, refunds, workers.

Every query walks an index and stops at CAP rows, so that a look costs the same with a hundred bookings and with a
hundred million. ``daemon --metrics-port``, ``doctor`` and ``top`` share it.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Select, case, func, or_, select

from flightctl.core.database import Transaction
from flightctl.core.model.states import BookingStatus, PaymentSource, PaymentStatus, RefundStatus
from flightctl.core.schema import bookings, payments, refunds, seat_reservations, worker_heartbeats
from flightctl.core.sql_functions import utc_now
from flightctl.core.workers import ALIVE_SECONDS

CAP: Final = 100_000
"""Rows that one count looks at; what is more is told as this many."""
SMALL_CAP: Final = 10_000
"""The same where the rows themselves are read, not the index alone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A loop of some daemon. ``host`` and ``pid`` are what the daemon said of itself."""

    role: str
    host: str
    pid: str
    started_at: datetime
    silent_seconds: float

    @property
    def alive(self) -> bool:
        return self.silent_seconds <= ALIVE_SECONDS


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look; counts stop at CAP. Ages are seconds by the database's clock, 0 where there is nothing."""

    at: datetime
    pending: int
    """Bookings that wait for their payment."""
    holds: int
    lapsed: int
    """Holds that have lapsed and were not swept yet."""
    sweep_lag: float
    """For how long the oldest of them has been waiting."""
    requested: int
    requested_age: float
    processing: int
    overdue: int
    """Payments that some processor claimed and did not settle in time."""
    overdue_age: float
    refunds: int
    refunds_amount: Decimal
    refunds_age: float
    refunds_by_hand: int
    """Those of them whose money came over the counter: a person pays them out."""
    workers: tuple[Worker, ...]

    def alive(self, role: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.role == role and worker.alive]


def look(tx: Transaction) -> Vitals:
    """All of it, in some ten short queries."""
    now: datetime = tx.execute(select(utc_now())).scalar_one()
    holds, lapsed, oldest_hold = _holds(tx)
    requested, claimed = _payments(tx)
    owed = _refunds(tx)
    return Vitals(
        at=now,
        pending=_count(tx, select(bookings.c.booking_id).where(bookings.c.status == BookingStatus.PENDING.value)),
        holds=holds,
        lapsed=lapsed,
        sweep_lag=_age(now, oldest_hold),
        requested=requested.all,
        requested_age=_age(now, requested.oldest),
        processing=claimed.all,
        overdue=int(claimed.overdue or 0),
        overdue_age=_age(now, claimed.oldest),
        refunds=owed.due,
        refunds_amount=Decimal(owed.amount or 0),
        refunds_age=_age(now, owed.oldest),
        refunds_by_hand=int(owed.by_hand or 0),
        workers=tuple(_workers(tx, now)),
    )


def _age(now: datetime, since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _count(tx: Transaction, query: Select[Any]) -> int:
    return int(tx.execute(select(func.count()).select_from(query.limit(CAP).subquery())).scalar_one())


_OPEN: Final = select(seat_reservations.c.expires_at).where(seat_reservations.c.deleted_at.is_(None))


def _holds(tx: Transaction) -> tuple[int, int, datetime | None]:
    """Open holds, those of them that have lapsed, and when the first of these did."""
    lapsed = _OPEN.where(seat_reservations.c.expires_at <= utc_now())
    first = tx.execute(lapsed.order_by(seat_reservations.c.expires_at).limit(1)).scalar()
    return _count(tx, _OPEN), _count(tx, lapsed) if first is not None else 0, first


def _payments(tx: Transaction) -> tuple[Any, Any]:
    """Those that nobody has claimed, and those that somebody has."""
    columns = (payments.c.claimed_until, payments.c.created_at)
    new = select(*columns).where(payments.c.status == PaymentStatus.REQUESTED.value).limit(CAP).subquery()
    claimed = select(*columns).where(payments.c.status == PaymentStatus.PROCESSING.value).limit(CAP).subquery()
    late = or_(claimed.c.claimed_until.is_(None), claimed.c.claimed_until <= utc_now())
    requested = select(func.count().label("all"), func.min(new.c.created_at).label("oldest"))
    processing = select(
        func.count().label("all"),
        func.sum(case((late, 1), else_=0)).label("overdue"),
        func.min(case((late, claimed.c.claimed_until))).label("oldest"),
    )
    return tx.execute(requested.select_from(new)).one(), tx.execute(processing.select_from(claimed)).one()


def _refunds(tx: Transaction) -> Any:
    """Of the oldest that are due."""
    due = (
        select(refunds.c.created_at, refunds.c.amount, payments.c.source)
        .join(payments, payments.c.payment_id == refunds.c.payment_id)
        .where(refunds.c.status == RefundStatus.DUE.value)
        .order_by(refunds.c.created_at)
        .limit(SMALL_CAP)
        .subquery()
    )
    by_hand = case((due.c.source == PaymentSource.AGENT.value, 1), else_=0)
    return tx.execute(
        select(
            func.count().label("due"),
            func.sum(due.c.amount).label("amount"),
            func.min(due.c.created_at).label("oldest"),
            func.sum(by_hand).label("by_hand"),
        ).select_from(due)
    ).one()


def _workers(tx: Transaction, now: datetime) -> list[Worker]:
    """Those seen within the hour (the table forgets others), the latest to start first."""
    beats = select(worker_heartbeats).order_by(worker_heartbeats.c.started_at.desc(), worker_heartbeats.c.worker_id)
    found = []
    for row in tx.execute(beats.limit(1000)):
        host, _, rest = str(row.worker_id).partition(":")
        found.append(Worker(row.role, host, rest.partition(":")[0], row.started_at, _age(now, row.seen_at)))
    return found
