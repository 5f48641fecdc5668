"""Contexts: several servers by name in one file, as kubectl has them.

The file is ``flightctl/contexts.yaml`` in the user's configuration folder, or what ``FLIGHTCTL_CONTEXTS`` names:
``current: NAME`` and ``contexts:`` with the settings of each, in the keys of configuration files. A command is for the
context of ``--context``, else of ``FLIGHTCTL_CONTEXT``, else for the current one; an empty name is for none.

Without the file nothing is read: one look whether it is there is all that a command pays.
"""

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from flightctl.core.errors import ConfigError
from flightctl.core.settings_file import read_document

BY_OPTION: Final = "--context"
BY_VARIABLE: Final = "FLIGHTCTL_CONTEXT"
BY_FILE: Final = "current"
FILE_VARIABLE: Final = "FLIGHTCTL_CONTEXTS"
_CURRENT_LINE: Final = re.compile(
    r"""^current[ \t]*:[ \t]*("[^"\n]*"|'[^'\n]*'|[^#\n]*?)(?P<rest>[ \t]+\#.*)?$""", re.M
)
_EXAMPLE: Final = "Write `contexts: {staging: {database.url: mysql+pymysql://…, environment: staging}}` into it."


class Context(NamedTuple):
    """``settings`` as they are written; ``by`` is what chose it: BY_OPTION, BY_VARIABLE or BY_FILE."""

    name: str
    by: str
    settings: Mapping[Any, Any]

    @property
    def explicit(self) -> bool:
        """Whether the command line itself names it."""
        return self.by == BY_OPTION


class Contexts(NamedTuple):
    """What the file holds; ``current`` is empty where it names none."""

    path: Path
    current: str
    by_name: Mapping[str, Mapping[Any, Any]]

    def require(self, name: str) -> Mapping[Any, Any]:
        """The settings of one. Raises ConfigError for a name that is not there."""
        if name in self.by_name:
            return self.by_name[name]
        raise ConfigError(f"there is no context {name!r} in {self.path}", hint=self._suggest(name))

    def _suggest(self, name: str) -> str:
        from difflib import get_close_matches

        folded = {known.casefold(): known for known in self.by_name}
        close = get_close_matches(name.casefold(), folded, n=1)
        if close:
            return f"Did you mean {folded[close[0]]}?"
        return f"There are {', '.join(self.by_name)}." if self.by_name else _EXAMPLE


def contexts_path(environ: Mapping[str, str]) -> Path:
    """Where the file is, or would be (XDG Base Directory Specification)."""
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "flightctl" / "contexts.yaml"


def choose(name: str | None, environ: Mapping[str, str]) -> Context | None:
    """The context that a command is for; ``name`` is that of ``--context``, None where it was not given.

    Raises ConfigError for an unknown one, and for a file that cannot be understood.
    """
    named, by = named_by(name, environ)
    if named == "" or (named is None and not is_there(environ)):
        return None
    contexts = read_contexts(environ)
    named = contexts.current if named is None else named
    return Context(named, by, contexts.require(named)) if named else None


def named_by(name: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The name that the command line or the environment gives, None where neither does; and which of them it was."""
    if name is not None:
        return name.strip(), BY_OPTION
    if BY_VARIABLE in environ:
        return environ[BY_VARIABLE].strip(), BY_VARIABLE
    return None, BY_FILE


def is_there(environ: Mapping[str, str]) -> bool:
    """Whether there is a file to read. One that was named has to be."""
    return bool(environ.get(FILE_VARIABLE)) or os.path.exists(contexts_path(environ))


def read_contexts(environ: Mapping[str, str]) -> Contexts:
    """Raises ConfigError, also where there is no file."""
    path = contexts_path(environ)
    try:
        seen = os.stat(path)
    except OSError:
        return _read(path, None)
    return _read(path, (seen.st_mtime_ns, seen.st_size, seen.st_ino))


@lru_cache(maxsize=4)
def _read(path: Path, _version: tuple[int, int, int] | None) -> Contexts:
    """Once in a process for each version of the file: a shell's next command does not wait for YAML again."""
    document = read_document(path, "file of contexts", missing_hint=_EXAMPLE)
    where = f"file of contexts {path}"
    for key in document:
        if key not in {"current", "contexts"}:
            raise ConfigError(f"{where}: unknown key {str(key)[:60]!r}", hint="It has `current` and `contexts`.")
    named = document.get("contexts") or {}
    if not isinstance(named, dict):
        raise ConfigError(f"{where}: contexts must be settings by name", hint=_EXAMPLE)
    for name, settings in named.items():
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ConfigError(f"{where}: {str(name)[:60]!r} is no name of a context", hint="Put it in quotes.")
        if not isinstance(settings, dict | None):
            raise ConfigError(f"{where}: context {name} must hold settings by name", hint=_EXAMPLE)
    current = document.get("current")
    if not isinstance(current, str | None):
        raise ConfigError(f"{where}: current must be the name of a context", hint="Put it in quotes.")
    return Contexts(path, (current or "").strip(), {name: settings or {} for name, settings in named.items()})


def make_current(name: str, environ: Mapping[str, str]) -> bool:
    """Have the file name this context as the current one; whether it did not already.

    The file is replaced as a whole, readable for its owner alone; its other lines, comments too, stay as they are.
    Raises ConfigError for an unknown context, and where the file cannot be written.
    """
    contexts = read_contexts(environ)
    contexts.require(name)
    if contexts.current == name:
        return False
    target = Path(os.path.realpath(contexts.path))  # a link into somebody's dotfiles stays one
    try:
        _replace(target, _with_current(target.read_text(encoding="utf-8"), name))
    except OSError as error:
        raise ConfigError(f"{contexts.path} cannot be written: {error.strerror or error}", hint="") from None
    return True


def _with_current(text: str, name: str) -> str:
    import yaml

    document = yaml.safe_load(text)
    wanted = {**document, "current": name}
    line = "current: " + (name if _is_plain(name) else json.dumps(name, ensure_ascii=False))
    if "current" in document:
        changed = _CURRENT_LINE.sub(lambda found: line + (found["rest"] or ""), text, count=1)
    else:
        changed = re.sub(r"^(?=contexts[ \t]*:)", lambda _: line + "\n", text, count=1, flags=re.MULTILINE)
    if _means(changed, wanted):
        return changed
    return str(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True))  # written in a way of its own


def _is_plain(name: str) -> bool:
    import yaml

    return re.fullmatch(r"[\w.-]+", name) is not None and yaml.safe_load(f"a: {name}") == {"a": name}


def _means(text: str, document: Mapping[str, Any]) -> bool:
    import yaml

    try:
        return bool(yaml.safe_load(text) == document)
    except yaml.YAMLError:
        return False


def _replace(target: Path, text: str) -> None:
    """Either the old file or the new one is there, whatever happens meanwhile."""
    import tempfile

    descriptor, scratch = tempfile.mkstemp(dir=target.parent, prefix=".contexts-")  # with mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, target)
    except BaseException:
        os.unlink(scratch)
        raise
