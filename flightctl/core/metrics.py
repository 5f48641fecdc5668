"""What the daemon tells Prometheus. Nothing here is paid for until ``open``.

Three kinds, by who knows: counts of this daemon's own work; totals of its process (retries, locks, cache); and what
stands in the database, which every daemon tells alike, whoever made it so: take ``max``, not ``sum``, over daemons.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from flightctl import __version__
from flightctl.core.loops import Loop
from flightctl.core.model.states import BookingStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import HEAD_REVISION
from flightctl.core.vitals_watch import Look, VitalsWatch

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

OWN_COUNTS: Final = {
    "expired_bookings": "Bookings that this daemon's sweep ended",
    "payments_succeeded": "Payments that this daemon brought to success",
    "payments_failed": "Payments that were declined",
    "payments_timed_out": "Payments that the gateway did not answer",
    "refunds_paid": "Refunds that this daemon paid",
    "loop_errors": "Rounds of a loop that failed",
}
OUTCOMES: Final = tuple(status.value for status in BookingStatus if status is not BookingStatus.PENDING)
ROLES: Final = ("sweep", "payments", "pack")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds: an idle sweep takes a few milliseconds, one of 100,000 holds some ten seconds."""


class Metrics:
    """Counters of this daemon's work; they do nothing until ``open``, so that nobody else loads the library."""

    def __init__(self) -> None:
        self._own: dict[str, Any] = {}

    def open(self, runtime: Runtime, loops: Sequence[Loop]) -> "CollectorRegistry":
        """Make the counters and return what serves them."""
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            GCCollector,
            Histogram,
            PlatformCollector,
            ProcessCollector,
            disable_created_metrics,
        )

        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        for name, text in OWN_COUNTS.items():
            self._own[name] = Counter(f"flightctl_{name}", text, registry=registry)
        if any(loop.role == "sweep" for loop in loops):
            end = "flightctl_last_sweep_timestamp_seconds"
            self._own["last_sweep"] = Gauge(
                end, "End of this daemon's last sweep; 0 before the first", registry=registry
            )
        for loop in loops:
            took = f"flightctl_{loop.role}_duration_seconds"
            text = f"How long the rounds of the {loop.role} loop took"
            self._own[f"took {loop.role}"] = Histogram(took, text, buckets=_BUCKETS, registry=registry)
        Gauge("flightctl_build_info", "1, and what runs", ["version", "schema"], registry=registry).labels(
            __version__, HEAD_REVISION
        ).set(1)
        registry.register(_ProcessTotals(runtime, loops))
        registry.register(_DatabaseState(VitalsWatch(runtime)))
        return registry

    def add(self, name: str, amount: int) -> None:
        if amount and name in self._own:
            self._own[name].inc(amount)

    def took(self, role: str, seconds: float) -> None:
        """A round of that loop has ended."""
        if f"took {role}" in self._own:
            self._own[f"took {role}"].observe(seconds)
        if role == "sweep" and "last_sweep" in self._own:
            self._own["last_sweep"].set_to_current_time()


class _Collector:
    """``describe`` keeps the registry from collecting, and so from asking the database, when it is registered."""

    def describe(self) -> list[Any]:
        return []


class _ProcessTotals(_Collector):
    def __init__(self, runtime: Runtime, loops: Sequence[Loop]) -> None:
        self._runtime = runtime
        self._loops = loops

    def collect(self) -> Iterator[Any]:
        runtime = self._runtime
        retries, cache = runtime.database.counters, runtime.cache.counters
        locks = runtime.locks.counters
        yield _gauge(
            "loop_up", "1 while the loop turns and its rounds succeed",
            {loop.role: int(loop.trouble is None) for loop in self._loops}, "loop",
        )  # fmt: skip
        yield _counter(
            "transaction_retries", "Transactions that ran again, by what stopped them",
            {reason: retries[f"retries.{reason}"] for reason in ("conflict", "lock_timeout", "connection")}, "reason",
        )  # fmt: skip
        yield _counter("lock_waits", "Waits for the Redis lock of a flight", locks["waits"])
        yield _counter("lock_wait_seconds", "Time spent in these waits", locks["wait_seconds"])
        yield _counter("locks_missed", "Work that went on without the Redis lock", locks["missed"])
        for name, what in ("hits", "Questions that Redis could answer"), ("misses", "Questions that it could not"):
            kinds = {kind: cache[f"{kind}.{name}"] for kind in ("seats", "routes")}
            yield _counter(f"cache_{name}", what, kinds, "kind")
        yield _counter("redis_circuit_trips", "Failures after which Redis was left alone", cache["trips"])
        is_open = int(runtime.cache.configured and not runtime.cache.enabled)
        yield _gauge("redis_circuit_open", "1 while Redis is left alone", is_open)
        if runtime.cache.configured:
            yield _gauge("redis_up", "1 when Redis answers", int(runtime.cache.ping()))


class _DatabaseState(_Collector):
    def __init__(self, watch: VitalsWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Any]:
        look = self._watch.latest()
        yield _gauge(
            "database_up", "1 when the database answered the last look", int(not self._watch.error and bool(look))
        )
        if look is not None:
            yield from _database_figures(look)


def _database_figures(look: Look) -> Iterator[Any]:
    now, events = look.vitals, look.events.totals
    yield _gauge("database_latency_seconds", "How long the look at these figures took", look.latency)
    yield _counter("bookings", "Bookings made, by anybody, since this daemon began to count", events.get("PENDING", 0))
    outcomes = {outcome: events.get(outcome, 0) for outcome in OUTCOMES}
    yield _counter("booking_outcomes", "Bookings that became so, by anybody", outcomes, "status")
    yield _gauge("bookings_pending", "Bookings that wait for their payment", now.pending)
    yield _gauge("holds", "Open holds", now.holds)
    yield _gauge("holds_lapsed", "Open holds that have lapsed and wait for a sweep", now.lapsed)
    yield _gauge("sweep_lag_seconds", "For how long the oldest of these has waited", now.sweep_lag)
    waiting = {"REQUESTED": now.requested, "PROCESSING": now.processing}
    yield _gauge("payments_waiting", "Payments without an outcome", waiting, "status")
    yield _gauge("payments_oldest_requested_seconds", "Age of the oldest that nobody has claimed", now.requested_age)
    yield _gauge("payments_overdue", "Payments claimed and not settled in time", now.overdue)
    owed = {"gateway": now.refunds - now.refunds_by_hand, "hand": now.refunds_by_hand}
    yield _gauge("refunds_due", "Refunds that are due, by who pays them", owed, "paid_by")
    yield _gauge("refunds_due_amount", "Money in them", float(now.refunds_amount))
    yield _gauge("refunds_oldest_due_seconds", "Age of the oldest of them", now.refunds_age)
    alive = {role: len(now.alive(role)) for role in ROLES}
    yield _gauge("workers_alive", "Loops of daemons that were seen lately, on all machines", alive, "loop")


def _gauge(name: str, text: str, value: float | dict[str, int], label: str = "") -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"flightctl_{name}", text, labels=[label] if label else None), value)


def _counter(name: str, text: str, value: float | dict[str, float] | dict[str, int], label: str = "") -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"flightctl_{name}", text, labels=[label] if label else None), value)


def _filled(family: Any, value: Any) -> Any:
    for key, number in value.items() if isinstance(value, dict) else [("", value)]:
        family.add_metric([key] if key else [], number)
    return family
