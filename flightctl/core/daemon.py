"""The daemon: loops that sweep, pay and pack until told to stop. Several may run; the database shares the work out.

The loops only repeat, sleep and stop; the work is ``sweeper.sweep``, ``payments.run_once`` and, where days are to be
kept packed, ``packed_days.keep_packed``. A database that goes away is waited for. The first SIGTERM or SIGINT drains
(at most DRAIN_SECONDS), the second ends at once.
"""

import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from flightctl.core import packed_days, payments, sweeper, workers
from flightctl.core.daemon_log import complain, configure_logging, say, warn
from flightctl.core.errors import ConfigError, FlightctlError, SchemaMismatchError, ValidationError
from flightctl.core.loops import Loop, patience
from flightctl.core.metrics import Metrics
from flightctl.core.runtime import Runtime
from flightctl.core.systemd import Notifier

DRAIN_SECONDS: Final = 30
BEAT_SECONDS: Final = 3.0
LATE_SECONDS: Final = 15.0
"""A database that did not answer for five beats is away."""
WATCH_SECONDS: Final = 5.0
PACK_SECONDS: Final = 5.0
"""Between looks for days that a change of the schedule has unpacked."""
NEXT_DAY_SECONDS: Final = 1.0
"""Between days to pack: each claim makes changes that are on their way on other members of a cluster begin anew."""
_BACKOFF_START, _BACKOFF_LIMIT = 0.5, 10.0
_CONTINUE_AT_ONCE: Final = 0.0


class Daemon:
    """The loops of one process and the order to stop them."""

    def __init__(self, runtime: Runtime, *, sweep_interval: float, sweep: bool, payments: bool) -> None:
        self._runtime = runtime
        self._interval = sweep_interval
        self._stop = threading.Event()
        # An Event must not be set by a signal handler: the thread it interrupts may be inside the Event's own lock.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._told = False
        self._id = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._reached_at: float | None = None
        self._notifier = Notifier()
        self.metrics = Metrics()
        patient = patience(runtime.settings)
        self.loops = [
            *([Loop("sweep", self._sweep, patient)] if sweep else []),
            *([Loop("payments", self._pay, patient)] if payments else []),
            *([Loop("pack", self._pack, patient)] if runtime.settings["search.packed_days"] else []),
        ]
        runtime.warn = lambda message: warn("redis", detail=message)

    def run(self) -> None:
        """Run until stopped; returns when drained, or after DRAIN_SECONDS."""
        say("started", worker=self._id, loops=",".join(loop.role for loop in self.loops))
        threads = []
        for loop in self.loops:
            loop.turn()
            loop.thread = threading.Thread(target=self._repeat, args=(loop,), daemon=True)
            threads.append(loop.thread)
        threads.append(threading.Thread(target=self._beat, daemon=True))
        for thread in threads:
            thread.start()
        self._notifier.tell("READY=1", "STATUS=started")
        signum = self._watch_until_signal()
        name = signal.Signals(signum).name
        say("draining", signal=name)
        self._notifier.tell("STOPPING=1", f"STATUS=draining after {name}")
        self._stop.set()
        deadline = time.monotonic() + DRAIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        drained = not any(thread.is_alive() for thread in threads)
        say("stopped", worker=self._id, drained=str(drained).lower())
        if not drained:
            os._exit(0)  # the interpreter would wait for a gateway's threads; their payments' leases will run out

    def _watch_until_signal(self) -> int:
        """Tell the service manager how it goes; its watchdog hears of us only while every loop turns.

        A database that is away does not count: starting again would not bring it back, and the loops go on trying.
        """
        pause = min(WATCH_SECONDS, (self._notifier.watchdog_seconds or WATCH_SECONDS * 2) / 2)
        told = ""
        while True:
            try:
                return self._signals.get(timeout=pause)
            except queue.Empty:
                stuck = "; ".join(loop.stuck for loop in self.loops if loop.stuck)
            if stuck and not told:
                complain("stuck", detail=stuck)
            told = stuck
            status = f"STATUS={'; '.join(self.troubles()) or 'working'}"
            if self._notifier.watchdog_seconds and not stuck:
                self._notifier.tell("WATCHDOG=1", status)
            else:
                self._notifier.tell(status)

    def troubles(self) -> list[str]:
        """What keeps the daemon from its work, one sentence each; empty when all is well."""
        found = ["the daemon is stopping"] if self._stop.is_set() else []
        found += [loop.trouble for loop in self.loops if loop.trouble]
        error = next((f": {loop.error}" for loop in self.loops if loop.error), "")
        if self._reached_at is None:
            found.append(f"the database has not been reached yet{error}")
        elif (silent := time.monotonic() - self._reached_at) > LATE_SECONDS:
            found.append(f"the database has not been reached for {silent:.0f} s{error}")
        return found

    def health(self) -> tuple[bool, dict[str, Any]]:
        """For ``/healthz``: the loops are alive, and the database was reached lately."""
        troubles = self.troubles()
        now = time.monotonic()
        return not troubles, {
            "status": "unhealthy" if troubles else "ok",
            "reasons": troubles,
            "worker": self._id,
            "loops": {loop.role: "failing" if loop.trouble or not loop.healthy else "ok" for loop in self.loops},
            "databaseReachedSecondsAgo": None if self._reached_at is None else round(now - self._reached_at, 1),
        }

    def stop(self, signum: int, _frame: FrameType | None) -> None:
        """Signal handler: the first call drains, the second ends the process at once."""
        if self._told:
            os._exit(128 + signum)
        self._told = True
        self._signals.put(signum)

    def _repeat(self, loop: Loop) -> None:
        backoff = _BACKOFF_START
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                pause = loop.work()
                if not loop.healthy:
                    say("recovered", loop=loop.role)
                loop.succeed()
                backoff = _BACKOFF_START
                self._reached_at = time.monotonic()
            except FlightctlError as error:
                self._failed(loop, error.code, error.message)
                pause, backoff = backoff, min(_BACKOFF_LIMIT, backoff * 2)
            except Exception as error:  # noqa: BLE001 - a defect in one round must not end the loop that expires holds
                self._failed(loop, "INTERNAL_ERROR", type(error).__name__)
                pause, backoff = backoff, min(_BACKOFF_LIMIT, backoff * 2)
            else:
                self.metrics.took(loop.role, time.monotonic() - began)
            loop.turn(pause)
            self._stop.wait(pause)

    def _failed(self, loop: Loop, code: str, message: str) -> None:
        loop.fail(f"{code}: {message}")
        self.metrics.add("loop_errors", 1)
        complain("error", loop=loop.role, code=code, detail=message)

    def _stopping(self, role: str) -> Callable[[], bool]:
        """What a round asks at every step; asking shows that it moves."""
        [loop] = [loop for loop in self.loops if loop.role == role]

        def ask() -> bool:
            loop.turn()
            return self._stop.is_set()

        return ask

    def _sweep(self) -> float:
        result = sweeper.sweep(self._runtime, stopping=self._stopping("sweep"))
        self.metrics.add("expired_bookings", result.expired_bookings)
        if result.expired_bookings:
            say("swept", bookings=result.expired_bookings, seats=result.seats_released, ms=result.took_ms)
        for line in result.skipped:
            complain("not-swept", detail=line)
        return self._interval

    def _pay(self) -> float:
        settings = self._runtime.settings
        limit: int = settings["payments.batch_size"]
        result = payments.run_once(self._runtime, limit=limit, stopping=self._stopping("payments"))
        moved = result.claimed + result.refunded
        for name, amount in (
            ("payments_succeeded", result.succeeded),
            ("payments_failed", result.failed),
            ("payments_timed_out", result.timed_out),
            ("refunds_paid", result.refunded),
        ):
            self.metrics.add(name, amount)
        if moved:
            say(
                "paid",
                succeeded=result.succeeded,
                failed=result.failed,
                unanswered=result.timed_out,
                refunded=result.refunded,
            )
        for line in result.errors:
            complain("payment", detail=line)
        return _CONTINUE_AT_ONCE if moved else float(settings["payments.interval"])

    def _pack(self) -> float:
        packed = packed_days.keep_packed(self._runtime, self._runtime.settings["search.packed_days"])
        if packed is None:
            return PACK_SECONDS
        say("packed", day=packed.day, flights=packed.flights)
        return NEXT_DAY_SECONDS

    def _beat(self) -> None:
        """Say that the healthy loops are alive, and at the end that they are gone."""
        while not self._stop.is_set():
            for loop in self.loops:
                if loop.healthy and not loop.stuck:
                    self._try(lambda tx, role=loop.role: workers.beat(tx, f"{self._id}:{role}", role))  # type: ignore[misc]
            if self._stop.wait(BEAT_SECONDS):
                break
        for loop in self.loops:
            self._try(lambda tx, role=loop.role: workers.leave(tx, f"{self._id}:{role}"))  # type: ignore[misc]

    def _try(self, work: Callable[[Any], None]) -> None:
        try:
            self._runtime.database.run(work)
            self._reached_at = time.monotonic()
        except FlightctlError as error:
            warn("heartbeat", code=error.code, detail=error.message)


def run(
    runtime: Runtime,
    *,
    sweep_interval: float | None,
    sweep: bool,
    payments: bool,
    metrics_port: int | None,
    metrics_address: str = "127.0.0.1",
) -> None:
    """Run the loops until SIGTERM or SIGINT; log lines go to stderr.

    Raises ValidationError for options that leave nothing to do, ConfigError and SchemaMismatchError at once; a server
    that does not answer is waited for.
    """
    if not sweep and not payments and not runtime.settings["search.packed_days"]:
        raise ValidationError("--no-sweep and --no-payments leave nothing to do")
    interval = runtime.settings["sweep.interval"] if sweep_interval is None else sweep_interval
    if not 0.1 <= interval <= 3600:
        raise ValidationError("--sweep-interval goes from 100ms to 1h")
    if metrics_port is not None and not 0 < metrics_port < 65536:
        raise ValidationError(f"--metrics-port {metrics_port} is no port")
    configure_logging()
    daemon = Daemon(runtime, sweep_interval=interval, sweep=sweep, payments=payments)
    # Made here, where a wrong URL still ends the command, and by one thread alone.
    _ = runtime.database, runtime.locks
    if metrics_port is not None:
        from flightctl.core.status_server import serve

        serve(metrics_address, metrics_port, daemon.metrics.open(runtime, daemon.loops), daemon.health)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, daemon.stop)
    try:
        runtime.database.read(workers.processor_alive)
    except (SchemaMismatchError, ConfigError):
        raise
    except FlightctlError as error:
        complain("error", code=error.code, detail=error.message)
    daemon.run()
