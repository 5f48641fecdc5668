"""The commands as completion reads them: made from the real ones, and kept in a file, because making them loads every
command's module."""

import json
import os
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from flightctl import __version__
from flightctl.completion import WRITE, Tree

_KINDS: Final = {
    "airport": {"source", "destination", "via", "avoid"},
    "booking": {"booking"},
    "context": {"context"},
    "flight": {"identifier", "flight", "flight_id"},
    "payment": {"payment"},
    "date": {"date", "start"},
    "file": {"file", "config", "plan"},
}
"""Names of options and arguments by what their values are."""
_LISTED: Final = re.compile(r"(?:^|\s)((?:[\w-]+, )+[\w-]+ or [\w-]+|[A-Z_]+ or [A-Z_]+)\.?$")
"""Help that ends in the values there are: ``price, duration or departure.``"""


def load(words: Sequence[str]) -> Tree:
    """The tree; where it is not on file yet, what ``words`` need of it."""
    path = _file()
    try:
        document: Tree = json.loads(path.read_bytes())
        return document
    except OSError:
        pass
    except ValueError:
        path.unlink(missing_ok=True)
    from flightctl.app import program

    return along(program(), words[:-1])


def write_in_background() -> None:
    """Have the file written, if it is not there, by a process that nobody waits for. Where there is no place for it,
    every completion makes its own part."""
    if not _file().exists():
        from subprocess import DEVNULL, Popen

        command = [sys.executable, "-m", "flightctl", "__complete", WRITE]
        Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)  # noqa: S603


def write() -> None:
    """Write the file."""
    from flightctl.app import program

    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(tree_of(program()), separators=(",", ":")), encoding="utf-8")
    os.replace(scratch, path)
    for old in path.parent.glob("commands-*.json"):
        if old != path:
            old.unlink(missing_ok=True)


def _file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "flightctl" / f"commands-{_fingerprint():08x}.json"


def _fingerprint() -> int:
    """Another for every other flightctl, an edited checkout included."""
    here = os.path.dirname(os.path.abspath(__file__))
    seen = [__version__, here]
    for folder in (here, os.path.join(here, "commands")):
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.name.endswith(".py"):
                    found = entry.stat()
                    seen.append(f"{entry.name}:{found.st_mtime_ns}:{found.st_size}")
    return zlib.crc32("\n".join(seen).encode())


def script(shell: str) -> str:
    """The script for a shell, which calls ``flightctl __complete`` for every key."""
    return (Path(__file__).parent / "completion_scripts" / f"flightctl.{shell}").read_text(encoding="utf-8")


# --- from Typer's commands


def tree_of(command: Any, help_line: str = "") -> dict[str, Any]:
    """The whole tree below ``command``."""
    node = _node(command, help_line)
    if hasattr(command, "list_commands"):
        lines = dict(command.lines(None))
        node["commands"] = {
            name: tree_of(command.get_command(None, name), lines.get(name, "")) for name in command.list_commands(None)
        }
    return node


def along(command: Any, words: Sequence[str], help_line: str = "") -> dict[str, Any]:
    """The tree that ``words`` need: the commands they go through, and the names of those beside."""
    node = _node(command, help_line)
    if not hasattr(command, "list_commands"):
        return node
    lines = dict(command.lines(None))
    node["commands"] = {name: {"help": line, "options": [], "arguments": []} for name, line in lines.items()}
    for index, word in enumerate(words):
        if word in lines:
            node["commands"][word] = along(command.get_command(None, word), words[index + 1 :], lines[word])
            break
    return node


def _node(command: Any, help_line: str) -> dict[str, Any]:
    from flightctl.cli import CONTEXT, common_options

    options: list[dict[str, Any]] = []
    arguments: list[dict[str, Any]] = []
    for param in (*command.params, *common_options()):
        known = {
            "help": " ".join((param.help or "").split()),
            "values": values_of(param),
            "flag": bool(getattr(param, "is_flag", False)),
            "names": [*param.opts, *param.secondary_opts],
        }
        if param.param_type_name == "argument":
            arguments.append(known)
        elif not getattr(param, "hidden", False):
            options.append(known)
    options.append({"help": "Show help and exit.", "values": "", "flag": True, "names": CONTEXT["help_option_names"]})
    return {"help": help_line, "options": options, "arguments": arguments}


def values_of(param: Any) -> list[str] | str:
    """The words that a parameter takes, or the kind of them, or neither: an empty string."""
    if getattr(param, "is_flag", False):
        return ""
    metavar = param.metavar or ""
    if "|" in metavar:
        return str(metavar).split("|")
    for kind, names in _KINDS.items():
        if param.name in names:
            return kind
    listed = _LISTED.search(" ".join((param.help or "").split()))
    return re.split(r", | or ", listed[1]) if listed else ""
