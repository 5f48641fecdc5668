"""The contexts as users see them: listed, and one of them made the current one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flightctl.core import contexts
from flightctl.core.errors import ConfigError
from flightctl.core.settings import load_settings, mask_url
from flightctl.core.settings_file import flatten


class ContextList(NamedTuple):
    """``rows`` as they are printed; ``missing`` is what the file calls current where it is none of them."""

    rows: list[dict[str, Any]]
    path: Path
    missing: str


def list_contexts(named: str | None, environ: Mapping[str, str] | None = None) -> ContextList:
    """All contexts in the file's order, marked the one that a command with ``--context named`` would be for.

    Raises ConfigError for a file that cannot be understood, and a context that is named and not there.
    """
    environ = os.environ if environ is None else environ
    wanted, _ = contexts.named_by(named, environ)
    if not wanted and not contexts.is_there(environ):
        return ContextList([], contexts.contexts_path(environ), "")
    found = contexts.read_contexts(environ)
    if wanted:
        found.require(wanted)
    in_force = found.current if wanted is None else wanted
    rows = [_row(name, own, current=name == in_force) for name, own in found.by_name.items()]
    return ContextList(rows, found.path, "" if found.current in {"", *found.by_name} else found.current)


def use_context(name: str, environ: Mapping[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """Make the context the current one; it as it is printed, and what else overrules it now, if anything does.

    Raises ConfigError for an unknown context, one with a wrong setting, and a file that cannot be written.
    """
    environ = os.environ if environ is None else environ
    name = name.strip()
    if not name:
        raise ConfigError("a context has a name", hint="`flightctl config contexts` lists those there are.")
    kept = {key: value for key, value in environ.items() if not key.startswith("FLIGHTCTL_")}
    if environ.get(contexts.FILE_VARIABLE):
        kept[contexts.FILE_VARIABLE] = environ[contexts.FILE_VARIABLE]
    used = load_settings(None, kept, context=name).context
    assert used is not None
    changed = contexts.make_current(name, environ)
    wanted, by = contexts.named_by(None, environ)
    overruled_by = by if wanted is not None and wanted != name else ""
    return {**_row(name, used.settings, current=True), "changed": changed}, overruled_by


def _row(name: str, own: Mapping[Any, Any], *, current: bool) -> dict[str, Any]:
    flat = flatten(own, f"context {name}", frozenset())
    shown = {key: str(flat[key]) if key in flat else None for key in ("environment", "database.url", "redis.url")}
    return {
        "name": name,
        "current": current,
        "environment": shown["environment"],
        "databaseUrl": None if shown["database.url"] is None else mask_url(shown["database.url"]),
        "redisUrl": None if shown["redis.url"] is None else mask_url(shown["redis.url"]),
    }
