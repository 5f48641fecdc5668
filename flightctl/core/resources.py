"""Files that ship with flightctl: the seed data and the default configuration."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def resource(name: str) -> Path:
    """Path of a shipped file, e.g. ``resource("seed_data/airports.tsv")``.

    An installed wheel carries them in ``flightctl/_data``; a checkout (and an editable install) has them at its top.
    """
    installed = _PACKAGE / "_data" / name
    return installed if installed.exists() else _PACKAGE.parent / name
