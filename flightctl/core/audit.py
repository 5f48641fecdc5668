"""Audit: the invariant on every flight, every hold, payment and cached count; and, if asked, mending."""

import time
from typing import Final

from sqlalchemy import func, select

from flightctl.core import inventory
from flightctl.core.audit_checks import check_all
from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.model import AuditResult, Violation
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights

LOOK_AGAIN_SECONDS: Final = 2.0
"""A count that is being published right now differs at one look; one that still does at the second is wrong."""
_BATCH: Final = 1000


def audit(runtime: Runtime, *, repair: bool = False) -> AuditResult:
    """Check everything on one consistent snapshot.

    With ``repair``, mend what can be mended without guessing; ``violations`` is then what is left, and ``repaired``
    says what was done.
    """
    result = _look(runtime)
    if not repair or not result.violations:
        return result
    from flightctl.core.audit_repair import repair_all

    repaired = repair_all(runtime, result.violations)
    after = _look(runtime)
    return AuditResult(after.flights_checked, after.bookings_checked, after.violations, tuple(repaired))


def _look(runtime: Runtime) -> AuditResult:
    abandon: float = runtime.settings["payments.abandon_after"]

    def work(tx: Transaction) -> tuple[int, int, list[Violation]]:
        checked = (
            tx.execute(select(func.count()).select_from(flights)).scalar_one(),
            tx.execute(select(func.count()).select_from(bookings)).scalar_one(),
        )
        return (*checked, check_all(tx, abandon))

    flights_checked, bookings_checked, violations = runtime.database.read(work, snapshot=True)
    stale = [_stale(flight_id, cached, truth) for flight_id, (cached, truth) in stale_counts(runtime).items()]
    return AuditResult(flights_checked, bookings_checked, (*violations, *stale))


def _stale(flight_id: str, cached: SeatCount, truth: SeatCount | None) -> Violation:
    right = "there is no such flight" if truth is None else f"the database says {truth.seats} (version {truth.version})"
    return Violation(
        "stale_cached_count", flight_id, None, f"Redis says {cached.seats} (version {cached.version}), {right}"
    )


def stale_counts(runtime: Runtime) -> dict[str, tuple[SeatCount, SeatCount | None]]:
    """Cached counts that differ from an unchanged row at two looks LOOK_AGAIN_SECONDS apart: (cached, database)."""
    if not runtime.cache.enabled:
        return {}
    first = _differing(runtime, runtime.cache.known_flights())
    if not first:
        return {}
    time.sleep(LOOK_AGAIN_SECONDS)
    second = _differing(runtime, list(first))
    return {flight_id: pair for flight_id, pair in second.items() if pair == first[flight_id]}


def _differing(runtime: Runtime, flight_ids: list[str]) -> dict[str, tuple[SeatCount, SeatCount | None]]:
    different: dict[str, tuple[SeatCount, SeatCount | None]] = {}
    for start in range(0, len(flight_ids), _BATCH):
        batch = flight_ids[start : start + _BATCH]
        cached = runtime.cache.seat_counts(batch)
        truth = runtime.database.read(lambda tx, batch=batch: inventory.counts(tx, batch))  # type: ignore[misc]
        for flight_id, count in cached.items():
            right = truth.get(flight_id)
            if count != right and not (right is None and count.seats == 0):
                different[flight_id] = (count, right)
    return different
