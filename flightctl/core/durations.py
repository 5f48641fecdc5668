"""Durations as people write them: ``90s``, ``5m``, ``1h``, ``2d``."""

import re
from typing import Final

from flightctl.core.errors import ValidationError

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str, what: str = "duration") -> float:
    """Seconds in ``text``. Raises ValidationError, naming ``what``, for anything else."""
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        raise ValidationError(f"{what} {text[:40]!r} is not a duration", hint="Write it as 90s, 5m or 1h.")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def format_duration(seconds: float) -> str:
    """The shortest of the forms above, e.g. ``5m`` for 300."""
    for unit in ("d", "h", "m"):
        count = seconds / _UNIT_SECONDS[unit]
        if seconds and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"
