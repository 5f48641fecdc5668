"""Quick to start, and commands that know neither SQL nor Redis."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flightctl.commands

HEAVY = ("sqlalchemy", "redis", "rich", "alembic", "yaml", "pydantic", "flightctl.commands")
MODULES = sorted(Path(flightctl.commands.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["no-such-command"], []])
def test_start_up_loads_nothing_heavy(arguments: list[str]) -> None:
    program = f"import sys\nfrom flightctl.app import run\nrun({arguments!r})\nprint('loaded:', *sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()[1:]
    assert not [name for name in loaded if name.startswith(tuple(f"{heavy}." for heavy in HEAVY)) or name in HEAVY]


def test_one_command_loads_only_its_own_module() -> None:
    program = "import sys; from flightctl.app import run; run(['config', 'show', '-q']); print('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()[1:]
    assert [name for name in loaded if name.startswith("flightctl.commands.")] == ["flightctl.commands.config"]
    assert not {"sqlalchemy", "redis", "rich", "pydantic"} & set(loaded)


def test_version(cli: Any) -> None:
    assert cli("--version").stdout == f"flightctl {flightctl.__version__}\n"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_commands_import_no_store(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & {"sqlalchemy", "redis", "alembic", "pymysql", "sqlite3"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_commands_catch_nothing_broad(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            assert ast.unparse(node.type) not in {"Exception", "BaseException", "FlightctlError"}
