"""Dying at a chosen step: a forked child runs a use case and ends itself at its k-th statement, commit or Redis command.

Nothing in the program knows of this: the steps are heard through SQLAlchemy's events and the sockets of the drivers.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.constants import COMMAND
from sqlalchemy import event

from flightctl.core.runtime import Runtime
from tests.concurrency.crew import Job, make_runtime, perform
from tests.faults import commits

DIED = 77  # exit status of a child that reached its point
EVERY_SIDE = os.environ.get("FLIGHTCTL_SOAK") == "1"  # also right after each statement, not only before the next


class Steps:
    """Counts the steps of this process, and ends it at the one it was told."""

    def __init__(self, die_at: int | None) -> None:
        self.die_at = die_at
        self.seen: list[str] = []

    def __call__(self, label: str) -> bool:
        """True when this is the step to die at and the caller has something to do first."""
        self.seen.append(label)
        if len(self.seen) - 1 != self.die_at:
            return False
        if label.startswith("during"):
            return True
        os._exit(DIED)

    def listen(self, runtime: Runtime) -> None:
        """Hears every statement, COMMIT and Redis command of this process from now on."""
        if runtime.database.embedded:
            self._listen_to_sqlite(runtime)
        else:
            self._listen_to_mysql()
        if runtime.cache.configured:
            self._listen_to_redis()

    def _listen_to_sqlite(self, runtime: Runtime) -> None:
        @event.listens_for(runtime.database.engine, "before_cursor_execute")
        def _before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self("before " + _short(statement))

        @event.listens_for(runtime.database.engine, "after_cursor_execute")
        def _after(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if EVERY_SIDE or statement.endswith("COMMIT"):
                self("after " + _short(statement))

    def _listen_to_mysql(self) -> None:
        """At the driver, where several statements may travel as one text."""
        query = pymysql.connections.Connection.query

        def heard(connection: Any, sql: Any, unbuffered: bool = False) -> Any:
            text = sql if isinstance(sql, str) else bytes(sql).decode(errors="replace")
            ends = commits(text)
            self("before " + _short(text))
            if ends and self("during " + _short(text)):
                connection._execute_command(COMMAND.COM_QUERY, sql)  # sent, the answer never read
                os._exit(DIED)
            result = query(connection, sql, unbuffered)
            if EVERY_SIDE or ends:
                self("after " + _short(text))
            return result

        pymysql.connections.Connection.query = heard  # type: ignore[method-assign]

    def _listen_to_redis(self) -> None:
        from redis.connection import AbstractConnection

        send = AbstractConnection.send_packed_command

        def send_packed_command(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
            label = f"Redis {b''.join(command).split(bytes([13, 10]))[2].decode()}"
            self("before " + label)
            result = send(connection, command, *args, **kwargs)
            self("after " + label)
            return result

        AbstractConnection.send_packed_command = send_packed_command  # type: ignore[method-assign]


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) < 60 else f"{text[:46]} … {text[-12:]}"


def in_child(job: Job, die_at: int | None) -> tuple[int, list[str], Any]:
    """Runs the job in a forked child; its exit status, and (when it lived) its steps and outcome."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.close(reading)
            runtime = make_runtime(job.env)
            runtime.database.read(lambda tx: tx)  # connected, the schema looked at
            if runtime.cache.configured:
                runtime.cache.ping()
            steps = Steps(die_at)
            steps.listen(runtime)
            outcome = perform(runtime, job)
            steps("at the end")
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump((steps.seen, outcome), pipe)
            status = 0
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, raw = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(raw)
    seen, outcome = pickle.loads(told) if told else ([], None)
    return status, seen, outcome


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)
