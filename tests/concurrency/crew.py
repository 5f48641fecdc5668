"""Twenty processes that act at the same moment: started once, told what to do, and let go by the clock.

Each is a real process with its own connections, made by a fork server that has imported what they need.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

from flightctl.core.errors import FlightctlError
from flightctl.core.runtime import Runtime

LEAD = 0.02  # seconds between "go" and the act, so that all have been told


@dataclass(frozen=True)
class Job:
    """One act of one process, ``delay`` seconds after the common start."""

    act: str  # a name of ACTS
    env: dict[str, str]
    arguments: dict[str, Any]
    delay: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """``code`` is "done" or the error's; ``value`` what the act returned; ``conflicts`` how many tries were lost."""

    code: str
    value: Any
    message: str = ""
    conflicts: int = 0
    took: float = 0.0


class Crew:
    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.concurrency.crew", "tests.concurrency.preload"])
        self._hands: list[tuple[Any, Connection]] = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._hands.append((process, ours))

    def run(self, jobs: Sequence[Job], *, timeout: float = 60.0) -> list[Outcome]:
        """All jobs at once, each by a process of its own; their outcomes in the same order."""
        hands = self._hands[: len(jobs)]
        assert len(hands) == len(jobs), "more jobs than processes"
        for job, (_, pipe) in zip(jobs, hands, strict=True):
            pipe.send(job)
        for _, pipe in hands:
            assert pipe.poll(timeout), "a process did not get ready"
            assert pipe.recv() == "ready"
        start = time.monotonic() + LEAD  # CLOCK_MONOTONIC is the machine's
        for _, pipe in hands:
            pipe.send(start)
        outcomes = []
        for job, (_, pipe) in zip(jobs, hands, strict=True):
            assert pipe.poll(timeout), f"no end of {job}"
            outcomes.append(pipe.recv())
        return outcomes

    def close(self) -> None:
        for process, pipe in self._hands:
            pipe.close()
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()


def codes(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.code for outcome in outcomes)


def _serve(pipe: Connection) -> None:
    from flightctl.core import database

    runtimes: dict[tuple[tuple[str, str], ...], Runtime] = {}
    conflicts = [0]
    pause = database.Tries.pause_or_give_up

    def counting(self: Any, *args: Any) -> None:
        conflicts[0] += 1
        pause(self, *args)

    database.Tries.pause_or_give_up = counting  # type: ignore[method-assign]
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        key = tuple(sorted(job.env.items()))
        if key not in runtimes:
            for old in runtimes.values():
                old.close()
            runtimes.clear()
            runtimes[key] = make_runtime(job.env)
        runtime = runtimes[key]
        conflicts[0] = 0
        try:
            runtime.database.read(lambda tx: tx)  # connected before the start
            if runtime.cache.configured:
                runtime.cache.ping()
            pipe.send("ready")
            start = pipe.recv() + job.delay
            time.sleep(max(0.0, start - time.monotonic()))
        except (EOFError, OSError):
            return
        pipe.send(perform(runtime, job, conflicts))


def make_runtime(env: dict[str, str]) -> Runtime:
    from flightctl.core.settings import load_settings

    return Runtime(load_settings(environ=env), actor="crew")


def perform(runtime: Runtime, job: Job, conflicts: list[int] | None = None) -> Outcome:
    started = time.monotonic()
    try:
        value, code, message = ACTS[job.act](runtime, **job.arguments), "done", ""
    except FlightctlError as error:
        value, code, message = error.details, error.code, error.message
    except Exception as error:  # noqa: BLE001 - reported to the test, which expects none
        value, code, message = None, f"BUG {type(error).__name__}", str(error)
    return Outcome(code, value, message, conflicts[0] if conflicts else 0, time.monotonic() - started)


# --- the acts: one use case each, with what the test needs of its result


def book(runtime: Runtime, identifier: str, seats: int = 1, key: str | None = None, user: str = "asha") -> Any:
    from flightctl.core.booking import book as act
    from flightctl.core.model.bookings import BookRequest

    result = act(runtime, BookRequest(identifier, user, seats=seats, idempotency_key=key))
    return {"booking": result.booking.booking_id, "replayed": result.replayed, "status": result.booking.status.value}


def book_unsorted(runtime: Runtime, identifier: str, seats: int = 1, backwards: bool = False) -> Any:
    """Books with the guard off that visits flights in sorted order."""
    from flightctl.core import inventory

    inventory.sorted = lambda ids, **more: sorted(ids, reverse=backwards, **more)  # type: ignore[attr-defined]
    try:
        return book(runtime, identifier, seats)
    finally:
        del inventory.sorted  # type: ignore[attr-defined]


def confirm(runtime: Runtime, booking: str) -> Any:
    from flightctl.core.settlement import confirm as act

    result = act(runtime, booking)
    return {"status": result.booking.status.value, "changed": result.changed}


def release(runtime: Runtime, booking: str, yes: bool = False, seats: int | None = None) -> Any:
    from flightctl.core.cancellation import release as act

    result = act(runtime, booking, reason=None, confirmed_too=yes, seats=seats)
    return {"status": result.booking.status.value, "changed": result.changed, "seats": result.booking.seats}


def callback(
    runtime: Runtime, booking: str, status: str = "SUCCESS", payment: str | None = None, amount: str | None = None
) -> Any:
    from flightctl.core.model.payments import CallbackRequest
    from flightctl.core.model.states import CallbackStatus
    from flightctl.core.settlement import callback as act

    money = None if amount is None else Decimal(amount)
    result = act(runtime, CallbackRequest(booking, CallbackStatus(status), payment, money))
    return {
        "status": result.booking_status.value,
        "payment": result.payment_status.value,
        "changed": result.changed,
    }


def sweep(runtime: Runtime, batch_size: int | None = None) -> Any:
    from flightctl.core.sweeper import sweep as act

    result = act(runtime, batch_size=batch_size)
    return {
        "bookings": result.expired_bookings,
        "reservations": result.expired_reservations,
        "seats": result.seats_released,
        "skipped": list(result.skipped),
    }


def process(runtime: Runtime, outcome: str | None = None, everything: bool = True, booking: str | None = None) -> Any:
    from flightctl.core.model.states import ForcedOutcome
    from flightctl.core.payments import process as act

    forced = None if outcome is None else ForcedOutcome(outcome)
    result = act(runtime, booking_id=booking, outcome=forced, everything=everything)
    return {
        "claimed": result.claimed,
        "succeeded": result.succeeded,
        "failed": result.failed,
        "refunded": result.refunded,
        "errors": list(result.errors),
    }


def refund(runtime: Runtime, payment: str) -> Any:
    from flightctl.core.refunding import refund as act

    result = act(runtime, payment)
    return {"status": result.payment.status.value, "changed": result.changed}


def cancel_flight(runtime: Runtime, flight: str, plan: str | None = None) -> Any:
    from flightctl.core.flights import cancel as act

    result = act(runtime, flight, reason="fog", plan=plan)
    return {"changed": result.changed, "bookings": list(result.bookings), "failed": list(result.failed)}


def reaccommodate(runtime: Runtime, plan: str) -> Any:
    from flightctl.core.plan_file import read_plan
    from flightctl.core.reaccommodation import reaccommodate as act

    result = act(runtime, read_plan(plan))
    return {outcome: result.count(outcome) for outcome in ("moved", "cancelled", "unchanged", "failed")}


def extend(runtime: Runtime, booking: str, seconds: float = 600) -> Any:
    from flightctl.core.holds import extend as act

    result = act(runtime, booking, by_seconds=seconds, reason="outage")
    return {"status": result.booking.status.value, "changed": result.changed}


def extend_all(runtime: Runtime, seconds: float = 600) -> Any:
    from flightctl.core.holds import extend_all as act

    result = act(runtime, by_seconds=seconds, reason="outage")
    return {"extended": result.extended, "skipped": len(result.skipped), "failed": len(result.failed)}


ACTS = {
    act.__name__: act
    for act in (
        book,
        book_unsorted,
        confirm,
        release,
        callback,
        sweep,
        process,
        refund,
        cancel_flight,
        reaccommodate,
        extend,
        extend_all,
    )
}
