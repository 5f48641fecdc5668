"""TLS to MySQL: asked for by settings or by the URL's ``ssl_…``, and then verified unless that is switched off."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flightctl.core.errors import ConfigError
from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from ssl import SSLContext

_NO: Final = frozenset({"0", "false", "no", "off"})
_FILES: Final = {"ssl_ca": "database.tls_ca", "ssl_cert": "database.tls_cert", "ssl_key": "database.tls_key"}
_OTHERS: Final = ("bind_address", "charset", "collation", "unix_socket")
"""What else a URL may say."""
_IGNORED: Final = frozenset({"connect_timeout", "read_timeout", "write_timeout"})
"""The settings of these names win."""
_CHARSETS: Final = frozenset({"utf8mb4", "utf8"})
_VERIFICATION: Final = frozenset({"ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity"})
_SWITCHES: Final = frozenset({"ssl", "ssl_disabled"}) | _VERIFICATION


def split_query(query: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A URL's query without what is about TLS, and that. Raises ConfigError for what nobody knows."""
    tls = {name: str(value) for name, value in query.items() if name.startswith("ssl")}
    for name in tls:
        if name not in _FILES and name not in _SWITCHES:
            known = ", ".join([*_FILES, *sorted(_SWITCHES)])
            raise ConfigError(f"database.url: {name[:40]!r} is not known", hint=f"There are {known}.")
    rest = {name: value for name, value in query.items() if name not in tls and name not in _IGNORED}
    for name in rest:
        if name not in _OTHERS:
            raise ConfigError(f"database.url: {name[:40]!r} is not known", hint=f"There are {', '.join(_OTHERS)}.")
    if (charset := rest.get("charset", "utf8mb4")) not in _CHARSETS:
        raise ConfigError(f"database.url: charset {charset[:40]!r} cannot hold every name", hint="Leave it out.")
    return rest, tls


def tls_context(query: Mapping[str, Any], settings: Settings) -> "SSLContext | None":
    """What the connection must use, None for no TLS. ``query`` is the URL's.

    Raises ConfigError for files that cannot be used.
    """
    asked = split_query(query)[1]
    files = {name: asked.get(name) or settings[key] for name, key in _FILES.items()}
    mode = settings["database.tls"]
    if "ssl_disabled" in asked and not _is_no(asked["ssl_disabled"]):
        return None
    # Whoever says how to verify wants TLS: a plain connection would be less than what is left of it.
    wanted = any(name in _VERIFICATION or not _is_no(value) for name, value in asked.items())
    if mode == "none" and not any(files.values()) and not wanted:
        return None
    import ssl

    ca, certificate, key = files["ssl_ca"], files["ssl_cert"], files["ssl_key"]
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if certificate:
            # Else OpenSSL asks for the passphrase of a locked key on the terminal, also in the midst of a completion.
            context.load_cert_chain(certificate, key or None, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        what = ", ".join(filter(None, (ca, certificate, key)))
        raise ConfigError(
            f"the files for TLS to the database cannot be used ({what}): {error.strerror or error}",
            hint="Check database.tls_ca, database.tls_cert and database.tls_key, or ssl_ca and so on in the URL.",
        ) from None
    # What the servers make for themselves at their first start lacks extensions that the strict mode wants.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if mode == "unverified" or _is_no(asked.get("ssl_verify_cert", "")):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif _is_no(asked.get("ssl_verify_identity", "")) or _is_no(asked.get("ssl_check_hostname", "")):
        context.check_hostname = False
    return context


def _is_no(value: str) -> bool:
    return value.strip().lower() in _NO
