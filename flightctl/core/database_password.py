"""The password of the database's account, where its URL has none."""

from pathlib import Path

from flightctl.core.errors import ConfigError
from flightctl.core.settings import Settings


def stored_password(settings: Settings) -> str:
    """From ``database.password`` or the first line of ``database.password_file``, empty where neither is set.

    Raises ConfigError for a file that cannot be used.
    """
    return settings["database.password"] or _from_file(settings["database.password_file"])


def _from_file(name: str) -> str:
    """The first line, so that an editor's newline does no harm."""
    if not name:
        return ""
    try:
        password = (Path(name).read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"database.password_file {name} cannot be read: {reason}") from None
    if not password:
        raise ConfigError(f"database.password_file {name} has no password in its first line")
    return password
