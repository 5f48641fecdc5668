"""The daemon: a sweep loop and a payment loop until told to stop. Several may run; the database shares the work out.

The loops only repeat, sleep and stop; the work is ``sweeper.sweep`` and ``payments.run_once``. A database that goes
away is waited for. The first SIGTERM or SIGINT drains (at most DRAIN_SECONDS), the second ends at once.
"""

import logging
import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from flightctl.core import payments, sweeper, workers
from flightctl.core.errors import ConfigError, FlightctlError, SchemaMismatchError, ValidationError
from flightctl.core.runtime import Runtime

DRAIN_SECONDS: Final = 30
BEAT_SECONDS: Final = 3.0
_BACKOFF_START, _BACKOFF_LIMIT = 0.5, 10.0
_CONTINUE_AT_ONCE: Final = 0.0

log = logging.getLogger("flightctl.daemon")


@dataclass(slots=True)
class _Loop:
    """One repeated task: ``work`` does a round and returns the seconds to sleep; ``healthy`` feeds the heartbeat."""

    role: str
    work: Callable[[], float]
    healthy: bool = True


class Metrics:
    """Counters for Prometheus; does nothing until ``serve`` is called, so that nobody else pays for the library."""

    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}

    def serve(self, port: int) -> None:
        """Raises ValidationError when the port is not to be had."""
        from prometheus_client import Counter, Gauge, start_http_server

        names = ("expired_bookings", "payments_succeeded", "payments_failed", "payments_timed_out", "refunds_paid")
        for name in (*names, "loop_errors"):
            self._counters[name] = Counter(f"flightctl_{name}", f"{name.replace('_', ' ')} of this daemon")
        self._counters["last_sweep"] = Gauge("flightctl_last_sweep_timestamp_seconds", "end of the last sweep")
        try:
            start_http_server(port, addr="127.0.0.1")
        except (OSError, OverflowError) as error:
            raise ValidationError(f"--metrics-port {port} cannot be opened: {error}") from error

    def add(self, name: str, amount: int) -> None:
        if amount and name in self._counters:
            self._counters[name].inc(amount)

    def swept(self) -> None:
        if "last_sweep" in self._counters:
            self._counters["last_sweep"].set_to_current_time()


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
        self.metrics = Metrics()
        self._loops = [
            *([_Loop("sweep", self._sweep)] if sweep else []),
            *([_Loop("payments", self._pay)] if payments else []),
        ]
        runtime.warn = lambda message: log.warning("redis", extra={"fields": {"detail": message}})

    def run(self) -> None:
        """Run until stopped; returns when drained, or after DRAIN_SECONDS."""
        threads = [threading.Thread(target=self._repeat, args=(loop,), daemon=True) for loop in self._loops]
        threads.append(threading.Thread(target=self._beat, daemon=True))
        _say("started", worker=self._id, loops=",".join(loop.role for loop in self._loops))
        for thread in threads:
            thread.start()
        signum = self._signals.get()
        _say("draining", signal=signal.Signals(signum).name)
        self._stop.set()
        deadline = time.monotonic() + DRAIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        drained = not any(thread.is_alive() for thread in threads)
        _say("stopped", worker=self._id, drained=str(drained).lower())
        if not drained:
            os._exit(0)  # the interpreter would wait for a gateway's threads; their payments' leases will run out

    def stop(self, signum: int, _frame: FrameType | None) -> None:
        """Signal handler: the first call drains, the second ends the process at once."""
        if self._told:
            os._exit(128 + signum)
        self._told = True
        self._signals.put(signum)

    def _repeat(self, loop: _Loop) -> None:
        backoff = _BACKOFF_START
        while not self._stop.is_set():
            try:
                pause = loop.work()
                if not loop.healthy:
                    _say("recovered", loop=loop.role)
                loop.healthy, backoff = True, _BACKOFF_START
            except FlightctlError as error:
                self._failed(loop, error.code, error.message)
                pause, backoff = backoff, min(_BACKOFF_LIMIT, backoff * 2)
            except Exception as error:  # noqa: BLE001 - a defect in one round must not end the loop that expires holds
                self._failed(loop, "INTERNAL_ERROR", type(error).__name__)
                pause, backoff = backoff, min(_BACKOFF_LIMIT, backoff * 2)
            self._stop.wait(pause)

    def _failed(self, loop: _Loop, code: str, message: str) -> None:
        loop.healthy = False
        self.metrics.add("loop_errors", 1)
        log.error("error", extra={"fields": {"loop": loop.role, "code": code, "detail": message}})

    def _sweep(self) -> float:
        result = sweeper.sweep(self._runtime, stopping=self._stop.is_set)
        self.metrics.add("expired_bookings", result.expired_bookings)
        self.metrics.swept()
        if result.expired_bookings:
            _say("swept", bookings=result.expired_bookings, seats=result.seats_released, ms=result.took_ms)
        for line in result.skipped:
            log.error("not-swept", extra={"fields": {"detail": line}})
        return self._interval

    def _pay(self) -> float:
        settings = self._runtime.settings
        limit: int = settings["payments.batch_size"]
        result = payments.run_once(self._runtime, limit=limit, stopping=self._stop.is_set)
        moved = result.claimed + result.refunded
        for name, amount in (
            ("payments_succeeded", result.succeeded),
            ("payments_failed", result.failed),
            ("payments_timed_out", result.timed_out),
            ("refunds_paid", result.refunded),
        ):
            self.metrics.add(name, amount)
        if moved:
            _say(
                "paid",
                succeeded=result.succeeded,
                failed=result.failed,
                unanswered=result.timed_out,
                refunded=result.refunded,
            )
        for line in result.errors:
            log.error("payment", extra={"fields": {"detail": line}})
        return _CONTINUE_AT_ONCE if moved else float(settings["payments.interval"])

    def _beat(self) -> None:
        """Say that the healthy loops are alive, and at the end that they are gone."""
        while not self._stop.is_set():
            for loop in self._loops:
                if loop.healthy:
                    self._try(lambda tx, role=loop.role: workers.beat(tx, f"{self._id}:{role}", role))  # type: ignore[misc]
            if self._stop.wait(BEAT_SECONDS):
                break
        for loop in self._loops:
            self._try(lambda tx, role=loop.role: workers.leave(tx, f"{self._id}:{role}"))  # type: ignore[misc]

    def _try(self, work: Callable[[Any], None]) -> None:
        try:
            self._runtime.database.run(work)
        except FlightctlError as error:
            log.warning("heartbeat", extra={"fields": {"code": error.code, "detail": error.message}})


def run(
    runtime: Runtime, *, sweep_interval: float | None, sweep: bool, payments: bool, metrics_port: int | None
) -> None:
    """Run the loops until SIGTERM or SIGINT; log lines go to stderr.

    Raises ValidationError for options that leave nothing to do, ConfigError and SchemaMismatchError at once; a server
    that does not answer is waited for.
    """
    if not sweep and not payments:
        raise ValidationError("--no-sweep and --no-payments leave nothing to do")
    interval = runtime.settings["sweep.interval"] if sweep_interval is None else sweep_interval
    if not 0.1 <= interval <= 3600:
        raise ValidationError("--sweep-interval goes from 100ms to 1h")
    if metrics_port is not None and not 0 < metrics_port < 65536:
        raise ValidationError(f"--metrics-port {metrics_port} is no port")
    configure_logging()
    daemon = Daemon(runtime, sweep_interval=interval, sweep=sweep, payments=payments)
    if metrics_port is not None:
        daemon.metrics.serve(metrics_port)
    _ = runtime.locks  # made here, where a wrong redis.url still ends the command, and by one thread alone
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, daemon.stop)
    try:
        runtime.database.read(workers.processor_alive)
    except (SchemaMismatchError, ConfigError):
        raise
    except FlightctlError as error:
        log.error("error", extra={"fields": {"code": error.code, "detail": error.message}})
    daemon.run()


def _say(event: str, **fields: Any) -> None:
    log.info(event, extra={"fields": fields})


class _Logfmt(logging.Formatter):
    """``ts=… level=… event=… key=value``: one line an event, readable by people and by machines."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "ts": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in fields.items())


def _quoted(value: str) -> str:
    if value and value.isprintable() and not any(character in value for character in ' "='):
        return value
    words = " ".join(value.replace('"', "'").split())
    return '"' + "".join(character if character.isprintable() else "?" for character in words) + '"'


def configure_logging() -> None:
    """Send the daemon's log lines to stderr."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Logfmt())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
