"""What a person needs to know at three in the morning: what works, what does not, and what to do about it."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import func, select

from flightctl.core.database import Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.model import BookingStatus, DoctorCheck, RefundStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import HEAD_REVISION, bookings, flights, refunds, seat_reservations, utc_now
from flightctl.core.settings import mask_url
from flightctl.core.workers import processor_alive

OK, WARNING, FAILED = "ok", "warning", "failed"
LAG_SECONDS: Final = 60
"""A hold that lapsed longer ago than this should have been swept: sweeps run every 10 s."""


def examine(runtime: Runtime) -> tuple[DoctorCheck, ...]:
    """Check configuration, database, schema, Redis, sweep lag and workers; never raises for what it checks."""
    settings = runtime.settings
    checks = [DoctorCheck("configuration", OK, f"environment {settings['environment']}, locking {settings['locking']}")]
    database = _database(runtime)
    checks.append(database)
    if database.state != FAILED:
        schema = _schema(runtime)
        checks.append(schema)
        if schema.state != FAILED:
            checks += [_guard(name, check, runtime) for name, check in _STATE_CHECKS]
    checks.append(_redis(runtime))
    return tuple(checks)


def _database(runtime: Runtime) -> DoctorCheck:
    try:
        database = runtime.database
        if database.embedded:
            database.read(lambda tx: tx.execute(select(utc_now())).scalar())
        else:
            database.revision()
    except FlightctlError as error:
        if error.code == "SCHEMA_MISMATCH":
            return DoctorCheck("database", OK, runtime.database.label)
        return DoctorCheck("database", FAILED, error.message, error.hint)
    return DoctorCheck("database", OK, database.label)


def _schema(runtime: Runtime) -> DoctorCheck:
    try:
        current = runtime.database.revision()
    except FlightctlError as error:
        return DoctorCheck("schema", FAILED, error.message, error.hint)
    if current == HEAD_REVISION:
        return DoctorCheck("schema", OK, f"revision {current}")
    return DoctorCheck(
        "schema", FAILED, f"revision {current or 'none'}, needed {HEAD_REVISION}", "Run `flightctl db upgrade`."
    )


def _guard(name: str, check: Callable[[Transaction], DoctorCheck], runtime: Runtime) -> DoctorCheck:
    try:
        return runtime.database.read(check)
    except FlightctlError as error:
        return DoctorCheck(name, FAILED, error.message, error.hint)


def _flights(tx: Transaction) -> DoctorCheck:
    coming = tx.execute(
        select(func.count()).select_from(flights).where(flights.c.departure_time > utc_now())
    ).scalar_one()
    if coming:
        return DoctorCheck("flights", OK, f"{coming} still to depart")
    return DoctorCheck("flights", WARNING, "none is still to depart", "`flightctl seed` loads a network.")


def _sweep_lag(tx: Transaction) -> DoctorCheck:
    lapsed = tx.execute(
        select(func.count(), func.min(seat_reservations.c.expires_at), utc_now()).where(
            seat_reservations.c.deleted_at.is_(None), seat_reservations.c.expires_at <= utc_now()
        )
    ).one()
    count, oldest, now = tuple(lapsed)
    if not count:
        return DoctorCheck("sweep", OK, "no lapsed hold is waiting")
    lag = (now - oldest).total_seconds()
    detail = f"{count} lapsed holds wait, the oldest for {lag:.0f} s"
    if lag <= LAG_SECONDS:
        return DoctorCheck("sweep", OK, detail)
    return DoctorCheck("sweep", WARNING, detail, "Is `flightctl daemon` or the sweep's cron line running?")


def _workers(tx: Transaction) -> DoctorCheck:
    if processor_alive(tx):
        return DoctorCheck("processor", OK, "a payment processor is alive")
    waiting = tx.execute(
        select(func.count()).select_from(bookings).where(bookings.c.status == BookingStatus.PENDING.value)
    ).scalar_one()
    hint = "Start `flightctl daemon`, or run `flightctl payments process`."
    return DoctorCheck("processor", WARNING, f"no payment processor is alive; {waiting} bookings are PENDING", hint)


def _refunds(tx: Transaction) -> DoctorCheck:
    due = refunds.c.status == RefundStatus.DUE.value
    count = tx.execute(select(func.count()).select_from(refunds).where(due)).scalar_one()
    amount = tx.execute(select(func.sum(refunds.c.amount)).where(due)).scalar()
    detail = f"{count} due, {amount} in all" if count else "none due"
    return DoctorCheck("refunds", OK, detail)


def _redis(runtime: Runtime) -> DoctorCheck:
    shown: Any = mask_url(runtime.settings["redis.url"])
    try:
        if not runtime.cache.configured:
            return DoctorCheck("redis", OK, "not configured; everything works from the database")
        if runtime.cache.ping():
            return DoctorCheck("redis", OK, shown)
    except FlightctlError as error:
        return DoctorCheck("redis", FAILED, error.message, error.hint)
    hint = "Searches are slower meanwhile; bookings are as safe as ever."
    return DoctorCheck("redis", WARNING, f"{shown} is not usable; everything works from the database", hint)


_STATE_CHECKS: Final[tuple[tuple[str, Callable[[Transaction], DoctorCheck]], ...]] = (
    ("flights", _flights),
    ("sweep", _sweep_lag),
    ("processor", _workers),
    ("refunds", _refunds),
)
