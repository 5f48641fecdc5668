"""``bench sweep``: lapsed holds ended a second, and what buyers of the same flights notice of it."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Final

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.book import HOLD_SECONDS, add_flights
from flightctl.core.bench.filling import Held, fill_holds
from flightctl.core.bench.load import Worker
from flightctl.core.bench.result import BenchResult, Row, row_of
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.booking import book
from flightctl.core.errors import NoSeatsAvailableError
from flightctl.core.model.bookings import BookRequest
from flightctl.core.runtime import Runtime
from flightctl.core.settings import Settings
from flightctl.core.sweeper import sweep

TURN_SECONDS: Final = 1.0
_LOAD: Final = 0.25
"""Of the buyers' capacity: an open loop, which does not wait for slow answers, so that a stall is seen."""
_LAPSED: Final = -10.0
"""Seconds: the holds' end, already past for database and audit alike, but for less than the audit's patience."""

_RELEASE: Final = (
    "SELECT status FROM bookings WHERE booking_id = %(booking)s{for_update}",
    "UPDATE bookings SET status = 'EXPIRED', updated_at = {now} WHERE booking_id = %(booking)s AND status = 'PENDING'",
    "UPDATE seat_reservations SET deleted_at = {now}, outcome = 'EXPIRED'"
    " WHERE booking_id = %(booking)s AND deleted_at IS NULL AND expires_at <= {now}",
    "UPDATE payments SET status = 'CANCELLED', updated_at = {now}"
    " WHERE booking_id = %(booking)s AND status = 'REQUESTED'",
    "INSERT INTO booking_events (booking_id, at, actor, from_status, to_status, reason)"
    " VALUES (%(booking)s, {now}, 'floor', 'PENDING', 'EXPIRED', 'the hold expired')",
    "UPDATE flights SET available_seats = available_seats + 1, seat_version = seat_version + 1"
    " WHERE flight_id = %(flight)s",
)


@dataclass(slots=True)
class _Sums:
    """Units and seconds of the two that end holds; latencies of buyers alone and during the sweep."""

    floor: list[float] = field(default_factory=lambda: [0.0, 0.0])
    own: list[float] = field(default_factory=lambda: [0.0, 0.0])
    alone: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)


def bench_sweep(
    settings: Settings, *, holds: int, flight_count: int, clients: int, seconds: float | None
) -> BenchResult:
    """In turns until no hold is left, or each has worked for ``seconds``: the floor, flightctl's sweep, ``clients``
    buyers, and buyers during the sweep.

    Without Redis, which the floor, that knows nothing of published counts, would leave stale.
    """
    with scratch(settings) as filled, ExitStack() as stack:
        changed = changed_settings(filled, {"redis.url": "", "locking": "database"})
        flight_ids = add_flights(changed, min(flight_count, holds), seats=max(1000, 2 * holds))
        held = fill_holds(changed, flight_ids, holds, seconds=_LAPSED)
        buyers = [stack.enter_context(Worker(partial(_buyer, changed, flight_ids, n))) for n in range(clients)]
        floor = stack.enter_context(Worker(partial(bare_releases, changed, held)))
        own = stack.enter_context(Worker(partial(flightctl_sweep, changed)))
        turn = TURN_SECONDS if seconds is None else min(TURN_SECONDS, seconds)
        pace = _pace(buyers, turn)
        began = time.monotonic()
        sums = _take_turns(floor, own, buyers, pace, turn, seconds)
        took = time.monotonic() - began
        while own.ask(TURN_SECONDS)[0][1]:
            pass  # the audit knows no mercy for what lapsed long ago
        rows = _rows(changed, sums, own.peak_mb)
        stack.close()
        violations = audit_scratch(changed)
    return BenchResult("sweep", clients, len(flight_ids), took, rows[0], rows[1], rows, violations)


def _pace(buyers: Sequence[Worker], turn: float) -> float:
    """Seconds between two bookings of one buyer that make _LOAD of what all can do back to back."""
    for buyer in buyers:
        buyer.send((turn, 0.0))
    done = sum(len(buyer.receive()[0]) for buyer in buyers)
    return turn * len(buyers) / max(1, done) / _LOAD


def _take_turns(
    floor: Worker, own: Worker, buyers: Sequence[Worker], pace: float, turn: float, enough: float | None
) -> _Sums:
    sums = _Sums()
    left = True
    while left and (enough is None or sums.own[1] < enough):
        for worker, total in ((floor, sums.floor), (own, sums.own)):
            (done, left), seconds = worker.ask(turn)
            total[0] += done
            total[1] += seconds
        for latencies, sweeping in ((sums.alone, False), (sums.during, True)):
            for buyer in buyers:
                buyer.send((turn, pace))
            if sweeping and left:
                _, left = own.ask(turn)[0]
            for buyer in buyers:
                latencies.extend(buyer.receive()[0])
    return sums


def _rows(settings: Settings, sums: _Sums, peak_mb: float) -> tuple[Row, ...]:
    what = f"{floors.driver_name(settings)}, one transaction a hold"
    floor = _rate(what, sums.floor)
    own = _rate("flightctl, in batches", sums.own, peak_mb)
    alone = row_of("buyers alone", sums.alone)
    during = row_of("buyers during flightctl's sweep", sums.during)
    ratio = alone.p99_ms / during.p99_ms if during.p99_ms else 0.0
    return floor, own.held_against(floor), alone, replace(during, ratios=(("p99 of " + alone.what, ratio),))


def _rate(what: str, total: Sequence[float], peak_mb: float | None = None) -> Row:
    """Holds a second; what one took, on average, stands for its latency."""
    done, seconds = total
    each = seconds / done * 1000 if done else 0.0
    return Row(what, done / seconds if seconds else 0.0, each, each, peak_mb)


def flightctl_sweep(settings: Settings) -> Callable[[float], tuple[int, bool]]:
    runtime = Runtime(settings, actor="bench")

    def work(seconds: float) -> tuple[int, bool]:
        """Holds ended, and whether any may be left."""
        until = time.monotonic() + seconds
        asked = count()  # before each batch; the first is always swept, however long the look at what has lapsed took
        result = sweep(runtime, stopping=lambda: next(asked) > 0 and time.monotonic() >= until)
        return result.expired_reservations, time.monotonic() >= until

    return work


def bare_releases(settings: Settings, held: Sequence[Held]) -> Callable[[float], tuple[int, bool]]:
    """Of the half that ends last, from its end: the sweep, which begins with the oldest, meets them last."""
    bare = floors.Bare(settings)
    for_update = "" if bare.embedded else " FOR UPDATE"
    statements = [bare.text(statement, for_update=for_update) for statement in _RELEASE]
    own = reversed(held[len(held) // 2 :])

    def work(seconds: float) -> tuple[int, bool]:
        until = time.monotonic() + seconds
        done = 0
        while time.monotonic() < until and (one := next(own, None)) is not None:
            done += _release(bare, statements, one)
        return done, True

    return work


def _release(bare: floors.Bare, statements: Sequence[str], one: Held) -> int:
    """1, or 0 when the sweep was there before."""
    lock, expire, *rest = statements
    values = {"booking": one[0], "flight": one[1]}
    bare.begin()
    bare.rows(lock, values)
    if bare.execute(expire, values) != 1:
        bare.roll_back()
        return 0
    for statement in rest:
        bare.execute(statement, values)
    bare.commit()
    return 1


def _buyer(settings: Settings, flight_ids: Sequence[str], number: int) -> Callable[[tuple[float, float]], list[float]]:
    runtime = Runtime(settings, actor="bench")
    dice = random.Random(number)  # noqa: S311 - spreads load

    def work(question: tuple[float, float]) -> list[float]:
        """Book every ``pace`` seconds (0: back to back); seconds from when each booking was due to its end."""
        seconds, pace = question
        latencies = []
        due = begin = time.monotonic()
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(NoSeatsAvailableError):
                book(runtime, BookRequest(dice.choice(flight_ids), user=f"buyer {number}", ttl_seconds=HOLD_SECONDS))
            now = time.monotonic()
            latencies.append(now - due)
            due = due + pace if pace else now
        return latencies

    return work
