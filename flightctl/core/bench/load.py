"""Client processes that run an operation over and over, contenders in turns, and what their latencies come to."""

import multiprocessing
import signal
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from flightctl.core.bench.result import Row, row_of
from flightctl.core.errors import FlightctlError, InternalError

SLICE_SECONDS: Final = 0.5
"""One turn of one contender: short against the drift of a machine, long against the start of a turn."""
_HEAD_START: Final = 0.02
"""Seconds between the call to start and the start, so that all clients hear it in time."""

_PATIENCE: Final = 2.0
"""Seconds that a client gets to finish what it has begun: killed between a COMMIT and the count's publication it would
leave a stale count for the audit to find."""
# From a server process that has done nothing yet: clients inherit neither connections nor memory of ours.
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "flightctl.core.search",
        "flightctl.core.loading",
        "flightctl.core.inventory",
        "flightctl.core.redis_wire",
        "flightctl.core.database_dialect",
        "redis",
        "sqlalchemy.dialects.mysql.pymysql",
        "sqlalchemy.dialects.sqlite.pysqlite",
        "pymysql",
    ]
)

Operation = Callable[[], int]
"""Does one piece of work and returns how many units that was (0: there was nothing to do)."""


@dataclass(frozen=True, slots=True)
class Contender:
    """``make`` is called once in each client process, with the client's number; both must be picklable."""

    what: str
    make: Callable[[int], Operation]


@dataclass(slots=True)
class _Tally:
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    units: int = 0
    wall: float = 0.0
    peak_mb: float = 0.0


class Crew:
    """The client processes of one contender; idle unless told to run."""

    def __init__(self, contender: Contender, clients: int) -> None:
        self.what = contender.what
        self._tally = _Tally()
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(clients):
            ours, theirs = _CONTEXT.Pipe()
            process = _CONTEXT.Process(target=_client, args=(theirs, contender.make, number), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def wait_ready(self) -> None:
        self._gather()

    def set_going(self, seconds: float) -> None:
        """Work unheard for so long, or until the crew is closed: what a client has begun then is finished first."""
        for pipe in self._pipes:
            pipe.send((time.monotonic(), seconds, True))

    def run(self, seconds: float, *, counted: bool = True) -> int:
        """One turn of all clients; the units done in it."""
        begin = time.monotonic() + _HEAD_START
        for pipe in self._pipes:
            pipe.send((begin, seconds, False))
        answers = self._gather()
        units: int = sum(done for _, done, _, _ in answers)
        if counted:
            for latencies, _, _, peak in answers:
                self._tally.latencies.frombytes(latencies)
                self._tally.peak_mb = max(self._tally.peak_mb, peak)
            self._tally.units += units
            self._tally.wall += max(elapsed for _, _, elapsed, _ in answers)
        return units

    def row(self) -> Row:
        tally = self._tally
        return row_of(self.what, tally.latencies, units=tally.units, wall=tally.wall, peak_mb=tally.peak_mb)

    def close(self) -> None:
        """End the clients, in the middle of a turn too."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            _end(process)

    def _gather(self) -> list[Any]:
        answers = []
        for pipe in self._pipes:
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                raise InternalError(f"a client of {self.what} died") from None
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
        return answers


@contextmanager
def crews(contenders: Sequence[Contender], clients: int) -> Iterator[list[Crew]]:
    """Crews whose clients are connected and waiting; ended afterwards."""
    made: list[Crew] = []
    try:
        for contender in contenders:
            made.append(Crew(contender, clients))
        for crew in made:
            crew.wait_ready()
        yield made
    finally:
        for crew in made:
            crew.close()


def compete(contenders: Sequence[Contender], *, clients: int, seconds: float) -> list[Row]:
    """Each contender's row after ``seconds`` of work, in turns that go round with a new first each time."""
    with crews(contenders, clients) as made:
        turns = max(2, round(seconds / SLICE_SECONDS))
        for crew in made:
            crew.run(min(SLICE_SECONDS, seconds / 2), counted=False)  # caches, pools and pages get warm
        for turn in range(turns):
            first = turn % len(made)
            for crew in made[first:] + made[:first]:
                crew.run(seconds / turns)
        return [crew.row() for crew in made]


def _client(pipe: Connection, make: Callable[[int], Operation], number: int) -> None:
    """The client process: one answer when it is ready, then one for each turn, until the pipe closes."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # who started it ends it
        signal.signal(ignored, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):  # the parent has gone, or has closed the pipe
        try:
            operation = make(number)
            pipe.send("ready")
            while True:
                begin, seconds, unheard = pipe.recv()
                pipe.send(_turn(operation, begin, seconds, pipe.poll if unheard else None))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the parent raises it
            pipe.send(_for_parent(error))


def _for_parent(error: Exception) -> FlightctlError:
    return error if isinstance(error, FlightctlError) else InternalError(f"{type(error).__name__}: {error}")


def _turn(
    operation: Operation, begin: float, seconds: float, stopped: Callable[[], bool] | None
) -> tuple[bytes, int, float, float]:
    latencies = array("d")
    units = 0
    clock = time.perf_counter
    time.sleep(max(0.0, begin - time.monotonic()))
    started = now = clock()
    until = started + seconds
    while now < until and not (stopped and stopped()):
        before = now
        done = operation()
        now = clock()
        if done:
            units += done
            latencies.append((now - before) / done)
    return latencies.tobytes(), units, now - started, peak_mb()


def peak_mb() -> float:
    """Peak resident memory of this process in MB (10^6 bytes); unlike ru_maxrss it starts anew with a new program."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Worker:
    """One process that answers one question at a time, so that contenders can take turns question by question."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_answer, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()
        self.peak_mb = 0.0

    def ask(self, question: Any) -> tuple[Any, float]:
        """The answer, and the seconds it took inside the process."""
        self.send(question)
        return self.receive()

    def send(self, question: Any) -> None:
        self._pipe.send(question)

    def receive(self) -> tuple[Any, float]:
        """What ``ask`` returns, of the question sent."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise InternalError("a worker of the bench died") from None
        if isinstance(answer, BaseException):
            raise answer
        result, seconds, self.peak_mb = answer
        return result, seconds

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        _end(self._process)


def _answer(pipe: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        try:
            work = make()
            while True:
                question = pipe.recv()
                before = time.perf_counter()
                result = work(question)
                pipe.send((result, time.perf_counter() - before, peak_mb()))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the parent raises it
            pipe.send(_for_parent(error))


def _end(process: Any) -> None:
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
