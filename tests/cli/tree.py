"""The commands there must be, and the ones there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_group

from flightctl.app import app

EXPECTED = {
    "search", "book", "confirm", "release", "sweep", "seed", "daemon",
    "holds list", "holds extend", "top", "wait",
    "bookings show", "bookings list", "bookings history",
    "flights list", "flights show", "flights seats", "flights sales", "flights add", "flights cancel", "flights update", "reaccommodate",
    "payments list", "payments show", "payments process", "payments callback", "payments refund",
    "payments sign", "payments trigger", "payments late",
    "schedule import", "schedule export", "manifest", "routes precompute", "routes pack", "audit", "doctor", "db upgrade",
    "db current", "db grants", "db archive", "config show", "config contexts", "config use", "-", "shell", "completion", "help",
    "bench book", "bench search", "bench sweep", "bench pay", "bench start", "bench seed",
}  # fmt: skip
GROUPS = {path.split()[0] for path in EXPECTED if " " in path}


def commands() -> dict[str, Any]:
    """Every command of the program by its path; groups left out."""
    return dict(_walk(get_group(app), ""))


def _walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(None):
        found = group.get_command(None, name)
        if hasattr(found, "list_commands"):
            yield from _walk(found, f"{path}{name} ")
        else:
            yield path + name, found
