"""The daemon's log: one line an event on stderr, ``ts=… level=… event=… key=value``; with priorities for journald."""

import logging
import sys
import time
from typing import Any, Final

from flightctl.core.systemd import goes_to_journal, priority

log: Final = logging.getLogger("flightctl.daemon")


def say(event: str, **fields: Any) -> None:
    log.info(event, extra={"fields": fields})


def warn(event: str, **fields: Any) -> None:
    log.warning(event, extra={"fields": fields})


def complain(event: str, **fields: Any) -> None:
    """For what needs a person, or another try."""
    log.error(event, extra={"fields": fields})


def configure_logging() -> None:
    """Send the daemon's log lines to stderr."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Logfmt(prefixed=_stderr_is_the_journal()))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def _stderr_is_the_journal() -> bool:
    try:
        return goes_to_journal(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # no stderr, or one that is no file
        return False


class _Logfmt(logging.Formatter):
    """Readable by people and by machines."""

    def __init__(self, *, prefixed: bool) -> None:
        super().__init__()
        self._prefixed = prefixed

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "ts": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        line = " ".join(f"{key}={_quoted(str(value))}" for key, value in fields.items())
        return priority(record.levelno) + line if self._prefixed else line


def _quoted(value: str) -> str:
    if value and value.isprintable() and not any(character in value for character in ' "='):
        return value
    words = " ".join(value.replace('"', "'").split())
    return '"' + "".join(character if character.isprintable() else "?" for character in words) + '"'
