"""A daemon as a test runs it: started, listened to, stopped."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.conftest import Cli

FIELD = re.compile(r'([a-z]+)=("[^"\n]*"|[^\s"=]+)')
LINE = re.compile(rf"{FIELD.pattern}(?: {FIELD.pattern})*")


def until(condition: Callable[[], Any], what: str, timeout: float = 40) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.03)


class Daemon:
    """A running daemon whose every line on stderr is parsed as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, str]] = []
        self.strange: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.rstrip("\n")
            if LINE.fullmatch(text):
                self.lines.append({key: value.strip('"') for key, value in FIELD.findall(text)})
            else:
                self.strange.append(text)

    def events(self, event: str, **fields: str) -> list[dict[str, str]]:
        wanted = fields | {"event": event}
        return [line for line in self.lines if wanted.items() <= line.items()]

    def wait_for(self, event: str, timeout: float = 40, **fields: str) -> dict[str, str]:
        until(lambda: self.events(event, **fields) or self.process.poll() is not None, f"{event} {fields}", timeout)
        assert self.events(event, **fields), (self.lines, self.strange)
        return self.events(event, **fields)[0]

    def total(self, event: str, field: str) -> int:
        return sum(int(line[field]) for line in self.events(event))

    def end(self, *signals: signal.Signals, timeout: float = 15) -> int:
        for one in signals:
            self.process.send_signal(one)
            time.sleep(0.05)
        started = time.monotonic()
        code = self.process.wait(timeout)
        assert time.monotonic() - started < timeout
        self._reader.join(5)
        assert self.process.stdout is not None
        assert self.process.stdout.read() == ""
        assert self.strange == []
        return code


class Starter:
    def __init__(self, cli: Cli, env: dict[str, str]) -> None:
        self.cli = cli
        self.env = {**env, "FLIGHTCTL_PAYMENTS_INTERVAL": "100ms"}

    def __call__(self, *args: str, **variables: str) -> Daemon:
        daemon = Daemon(self.cli.start("daemon", *args, env=self.env | variables))
        daemon.wait_for("started")
        return daemon


def start_patched(cli: Cli, env: dict[str, str], patches: str, *args: str) -> Daemon:
    """A daemon some of whose module's constants were changed by ``patches`` before it began; ``d`` is the module."""
    code = (
        f"import sys, flightctl.core.daemon as d; {patches}; from flightctl.app import run; sys.exit(run(sys.argv[1:]))"
    )
    return Daemon(cli.start_code(code, "daemon", *args, env=env))
