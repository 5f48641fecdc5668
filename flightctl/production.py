"""The line that tells, before a command changes something, that it is about to happen in production."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flightctl.errors_shown import one_line, stderr_has_colors, write_stderr

if TYPE_CHECKING:
    from flightctl.core.settings import Settings

REVERSED_RED: Final = "1;7;31"
READING: Final = {
    "search", "wait", "top", "manifest", "doctor", "help", "completion", "shell", "-",
    "bookings show", "bookings list", "bookings history", "holds list", "schedule export", "db current", "db grants",
    "flights list", "flights show", "flights seats", "payments list", "payments show", "payments late",
    "config show", "config contexts", "config use",
}  # fmt: skip
"""Commands that change nothing on the servers; whatever is not among them does."""
_ONLY_LOOKS: Final = ("dry_run", "quote")
_ONLY_WITH: Final = {"audit": "repair"}


def changes(command: str, params: Mapping[str, Any]) -> bool:
    """Whether a command with these parameters changes something."""
    if command in READING or any(params.get(name) for name in _ONLY_LOOKS):
        return False
    return command not in _ONLY_WITH or bool(params.get(_ONLY_WITH[command]))


def banner(settings: "Settings") -> str:
    """``PRODUCTION  context NAME  host/database``; never a password."""
    context = f"context {settings.context.name}" if settings.context is not None else ""
    return "  ".join(filter(None, ("PRODUCTION", context, _place(settings["database.url"]))))


def _place(url: str) -> str:
    from flightctl.core.settings import mask_url

    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    return mask_url(url).rpartition("@")[2].rpartition("://")[2].partition("?")[0]


def show(settings: "Settings", *, color: bool) -> None:
    """On stderr."""
    line = one_line(banner(settings))
    write_stderr(f"\x1b[{REVERSED_RED}m {line} \x1b[0m" if color and stderr_has_colors() else line)
