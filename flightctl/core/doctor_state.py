"""The work as ``doctor`` sees it: flights to sell, sweeps, processors, payments, refunds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from flightctl.core import disruption, vitals
from flightctl.core.audit_money import REFUND_GRACE_SECONDS
from flightctl.core.database import Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.model.disruptions import Disruption
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.model.states import FlightStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights
from flightctl.core.sql_functions import utc_now
from flightctl.core.vitals import Vitals, Worker

OK, WARNING, FAILED = "ok", "warning", "failed"
LAG_SECONDS: Final = 60
"""A hold that lapsed longer ago than this should have been swept: sweeps run every 10 s, by cron every minute."""
SHOWN: Final = 10
"""Booking ids that a line names."""
PAYMENT_SECONDS: Final = 60
"""A payment that nobody has claimed for so long, or not settled for so long after its lease, is stuck."""


def examine(runtime: Runtime) -> list[DoctorCheck]:
    try:
        now, coming, last, waiting = runtime.database.read(_look)
    except FlightctlError as error:
        return [DoctorCheck("state", FAILED, error.message, error.hint)]
    vital = [_sweep(now), _processor(now), _payments(now), _refunds(now)]
    return [_flights(coming, last), *vital, _disruptions(waiting)]


def _look(tx: Transaction) -> tuple[Vitals, int, datetime | None, tuple[Disruption, ...]]:
    sold = flights.c.status == FlightStatus.ACTIVE.value
    coming = select(flights.c.departure_time).where(sold, flights.c.departure_time > utc_now())
    count = int(tx.execute(select(func.count()).select_from(coming.limit(vitals.CAP).subquery())).scalar_one())
    last: datetime | None = tx.execute(select(func.max(flights.c.departure_time)).where(sold)).scalar()
    return vitals.look(tx), count, last, disruption.disrupted(tx)


def _number(count: int, cap: int = vitals.CAP) -> str:
    return f"{count:,} or more" if count >= cap else f"{count:,}"


def _ago(seconds: float) -> str:
    """``45 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, unit in ((172800, "days"), (7200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


def _flights(coming: int, last: datetime | None) -> DoctorCheck:
    if not coming or last is None:
        return DoctorCheck("flights", WARNING, "none is still to depart", "`flightctl seed` loads a network.")
    return DoctorCheck("flights", OK, f"{_number(coming)} still to depart, the last on {last:%Y-%m-%d}")


def _who(workers: list[Worker]) -> str:
    """``vm1 since 2026-12-01 06:10Z, vm2 since …``: each machine once, with its longest-lived."""
    since: dict[str, datetime] = {}
    for worker in workers:
        since[worker.host] = min(worker.started_at, since.get(worker.host, worker.started_at))
    shown = [f"{host} since {at:%Y-%m-%d %H:%M}Z" for host, at in sorted(since.items())]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more machines" if len(shown) > 5 else "")


def _last_seen(now: Vitals, role: str) -> str:
    dead = [worker for worker in now.workers if worker.role == role and not worker.alive]
    if not dead:
        return ""
    latest = min(dead, key=lambda worker: worker.silent_seconds)
    return f"; the last, {latest.host} (process {latest.pid}), was seen {_ago(latest.silent_seconds)} ago"


def _sweep(now: Vitals) -> DoctorCheck:
    alive = now.alive("sweep")
    by = f"swept by {_who(alive)}" if alive else f"no daemon sweeps{_last_seen(now, 'sweep')}"
    holds = f"{_number(now.holds)} open holds"
    if not now.lapsed:
        return DoctorCheck("sweep", OK, f"no lapsed hold is waiting; {holds}, {by}")
    detail = f"{_number(now.lapsed)} lapsed holds wait, the oldest for {_ago(now.sweep_lag)}; {by}"
    if now.sweep_lag <= LAG_SECONDS:
        return DoctorCheck("sweep", OK, detail)
    hint = "Run `flightctl sweep` now; then see why no `flightctl daemon` or cron line did."
    if alive:
        hint = "Run `flightctl sweep`: it names what cannot be swept; then look for level=error in the daemon's log."
    return DoctorCheck("sweep", WARNING, detail, hint)


def _processor(now: Vitals) -> DoctorCheck:
    alive = now.alive("payments")
    if alive:
        return DoctorCheck("processor", OK, f"{len(alive)} alive: {_who(alive)}")
    hint = "Start `flightctl daemon` (`systemctl start flightctl`), or run `flightctl payments process`."
    detail = f"no payment processor is alive{_last_seen(now, 'payments')}; {_number(now.pending)} bookings are PENDING"
    return DoctorCheck("processor", WARNING, detail, hint)


def _payments(now: Vitals) -> DoctorCheck:
    if not now.requested and not now.processing:
        return DoctorCheck("payments", OK, "none is waiting")
    detail = f"{_number(now.requested)} wait to be charged"
    detail += f", the oldest for {_ago(now.requested_age)}" if now.requested else ""
    detail += f"; {_number(now.processing)} at the gateway" if now.processing else ""
    if now.overdue:
        detail += f", {_number(now.overdue)} of them unanswered, the oldest {_ago(now.overdue_age)} over its time"
    if now.overdue_age > PAYMENT_SECONDS:
        hint = "`flightctl payments process` asks the gateway again; `flightctl payments list --status PROCESSING`."
        return DoctorCheck("payments", WARNING, detail, hint)
    if now.requested_age > PAYMENT_SECONDS:
        sweep = "`flightctl sweep`, which ends those whose hold has lapsed, then " if now.lapsed else ""
        hint = f"Run {sweep}`flightctl payments process --all`; see whether a processor is alive, and its log."
        return DoctorCheck("payments", WARNING, detail, hint)
    return DoctorCheck("payments", OK, detail)


def _refunds(now: Vitals) -> DoctorCheck:
    if not now.refunds:
        return DoctorCheck("refunds", OK, "none due")
    more = " or more" if now.refunds >= vitals.SMALL_CAP else ""
    detail = f"{now.refunds:,}{more} due, {now.refunds_amount:.2f} in all, the oldest for {_ago(now.refunds_age)}"
    if now.refunds_by_hand:
        detail += f"; {now.refunds_by_hand} of them by hand"
    if now.refunds_age <= REFUND_GRACE_SECONDS:
        return DoctorCheck("refunds", OK, detail)
    hint = "`flightctl payments list --due`; the processor pays those of the gateway."
    if now.refunds_by_hand:
        hint = f"{hint} Hand counter money (source AGENT) out, then `flightctl payments refund PAYMENT`."
    return DoctorCheck("refunds", WARNING, detail, hint)


def _disruptions(waiting: Sequence[Disruption]) -> DoctorCheck:
    if not waiting:
        return DoctorCheck("disruptions", OK, "no booking waits to be moved")
    shown = ", ".join(one.booking_id for one in waiting[:SHOWN])
    more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
    hint = "Apply their plan with `flightctl reaccommodate FILE`; `flightctl flights cancel ID --plan FILE` writes one."
    return DoctorCheck("disruptions", WARNING, f"{len(waiting)} booking(s) wait to be moved: {shown}{more}", hint)
