"""Audit: the invariant on every flight, every hold, payment and cached count; and, if asked, mending."""

import time
from dataclasses import replace
from typing import Final

from flightctl.core import disruption, inventory
from flightctl.core.audit_checks import ON_CANCELLED_FLIGHT, Checked, check_all, on_cancelled_flights
from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.model.disruptions import Disruption
from flightctl.core.model.operations import AuditResult, Violation
from flightctl.core.runtime import Runtime

LOOK_AGAIN_SECONDS: Final = 2.0
"""A count that is being published right now differs at one look; one that still does at the second is wrong."""
REPAIR_ROUNDS: Final = 3
"""One mend may bring the next to light, e.g. a booking that is cancelled owes its money."""
_BATCH: Final = 1000


def audit(runtime: Runtime, *, repair: bool = False) -> AuditResult:
    """Check everything on one consistent snapshot.

    With ``repair``, mend what can be mended without guessing; ``violations`` is then what is left, and ``repaired``
    says what was done.
    """
    result = _look(runtime)
    repaired: list[str] = []
    for _ in range(REPAIR_ROUNDS if repair else 0):
        from flightctl.core.audit_repair import repair_all

        done = repair_all(runtime, result.violations) if result.violations else []
        if not done:
            break
        repaired += done
        result = _look(runtime)
    return replace(result, repaired=tuple(repaired))


def _look(runtime: Runtime) -> AuditResult:
    abandon: float = runtime.settings["payments.abandon_after"]

    def work(tx: Transaction) -> tuple[Checked, tuple[Disruption, ...]]:
        return check_all(tx, abandon), disruption.disrupted(tx)

    checked, disrupted = runtime.database.read(work, snapshot=True)
    left = _left_by_cancel(runtime, {found for found in checked.violations if found.kind == ON_CANCELLED_FLIGHT})
    violations = [found for found in checked.violations if found.kind != ON_CANCELLED_FLIGHT or found in left]
    stale = [_stale(flight_id, cached, truth) for flight_id, (cached, truth) in stale_counts(runtime).items()]
    return AuditResult(checked.flights, checked.bookings, (*violations, *stale), disrupted=disrupted)


def _left_by_cancel(runtime: Runtime, found: set[Violation]) -> set[Violation]:
    """Those bookings of cancelled flights that nobody is ending: `flights cancel` takes one transaction for each.

    Looked at again until LOOK_AGAIN_SECONDS pass in which none of them ended.
    """
    while found:
        time.sleep(LOOK_AGAIN_SECONDS)
        still = found & runtime.database.read(lambda tx: set(on_cancelled_flights(tx)))
        if still == found:
            break
        found = still
    return found


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
