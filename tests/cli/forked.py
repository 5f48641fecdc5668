"""`flightctl` as processes that are forked instead of started: a tenth of the time, for tests of what commands do.

Each command is a process of its own with its own environment, standard streams and connections; only the imports are
shared. Starting up is what other tests start real programs for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, Result

_ZYGOTE = """
import importlib, json, os, pkgutil, signal, sys
import alembic.command, pymysql, redis, sqlalchemy.dialects.mysql.pymysql, sqlalchemy.dialects.sqlite.pysqlite, yaml
import flightctl.commands, flightctl.core
for package in flightctl.commands, flightctl.core:
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
from flightctl.__main__ import main

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        for number, name, mode in (0, os.devnull, os.O_RDONLY), (1, order["out"], os.O_WRONLY), (2, order["err"], os.O_WRONLY):
            os.dup2(os.open(name, mode), number)
        signal.alarm(order["timeout"])
        sys.argv = ["flightctl", *order["args"]]
        try:
            main()
        except SystemExit as leaving:
            sys.stdout.flush()
            os._exit(leaving.code or 0)
        os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(code), flush=True)
"""


class ForkedCli:
    """Called as `Cli` is, with the same expectations."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.env = cli.env
        self._cwd = folder
        self._zygote: subprocess.Popen[str] | None = None

    def __call__(
        self, *args: str | Path, env: Mapping[str, str] | None = None, check: int | None = 0, timeout: int = 60
    ) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            out.touch()
            err.touch()
            words = tuple(map(str, args))
            order = {
                "args": words, "env": self.env | dict(env or {}), "cwd": str(self._cwd), "out": str(out),
                "err": str(err), "timeout": timeout,
            }  # fmt: skip
            code = self._ask(order)
            result = Result(words, code, out.read_text("utf-8"), err.read_text("utf-8"))
        assert "Traceback" not in result.stderr, f"a traceback from {result}"
        assert check is None or code == check, f"expected exit {check} from {result}"
        return result

    def _ask(self, order: dict[str, Any]) -> int:
        if self._zygote is None:
            self._zygote = subprocess.Popen(
                [sys.executable, "-c", _ZYGOTE],
                env={**os.environ, **self.env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        answer = self._zygote.stdout.readline()
        if not answer:
            pytest.fail("the process that forks has ended")
        return int(answer)

    def close(self) -> None:
        if self._zygote is not None:
            self._zygote.communicate()
