"""YAML files that people write settings into: read, or refused with the place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flightctl.core.errors import ConfigError


def read_document(path: Path, what: str, *, missing_hint: str) -> dict[str, Any]:
    """The mapping that a file holds, empty for an empty file. ``what`` names the file's kind. Raises ConfigError."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist", hint=missing_hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{what} {path} cannot be read: {reason}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{what} {path} is not YAML{where}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{what} {path} must hold settings by name, not {type(document).__name__}")
    return document


def flatten(document: Mapping[Any, Any], where: str, whole: frozenset[str]) -> dict[str, Any]:
    """Values by dotted key; ``redis: {url: …}`` and ``redis.url: …`` are the same. ``whole``: keys whose value may be a
    mapping. Keys without a value are left out. Raises ConfigError, naming ``where``."""
    flat: dict[str, Any] = {}
    try:
        _flatten(document, "", whole, flat)
    except RecursionError:  # an anchor that holds itself
        raise ConfigError(f"{where} has settings that nest without end") from None
    return flat


def _flatten(node: Mapping[Any, Any], prefix: str, whole: frozenset[str], flat: dict[str, Any]) -> None:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in whole:
            _flatten(value, key + ".", whole, flat)
        elif value is not None:
            flat[key] = value
