"""Where Redis is: the URL, the password and the certificates, read once and checked before anything connects.

``redis://``, ``rediss://`` and ``unix://`` name one server, ``redis+cluster://`` some nodes of a Redis Cluster and
``redis+sentinel://`` the sentinels that know which server is the master of a service. ``rediss+…`` means TLS.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from flightctl.core.errors import ConfigError
from flightctl.core.settings import Settings, mask_url

Address = tuple[str, int]
"""Host and port; for a Unix socket its path and 0."""

_URL: Final = re.compile(
    r"(?P<scheme>rediss?|rediss?\+cluster|rediss?\+sentinel|unix)://(?:(?P<user>.*)@)?"
    r"(?P<hosts>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]@,]+)(?::(?P<port>\d{1,5}))?")
_EXAMPLES: Final = {
    "": "Write redis://:password@host:6379/0.",
    "cluster": "Write redis+cluster://:password@host1:6379,host2:6379/.",
    "sentinel": "Write redis+sentinel://:password@host1:26379,host2:26379/service/0.",
}


class Kind(Enum):
    SINGLE = ""
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class Login:
    """What a server asks of its clients; None where it asks nothing."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


class Tls(NamedTuple):
    """Files in PEM, "" where not given; ``verify`` as the setting ``redis.tls_verify`` has it."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: str = "full"

    def context(self) -> Any:
        """The SSLContext. Raises ConfigError for a file that cannot be used."""
        import ssl

        for name, path in (("tls_ca", self.ca), ("tls_cert", self.cert), ("tls_key", self.key)):
            if path and not Path(path).is_file():
                raise ConfigError(f"redis.{name}: there is no file {path}")
        try:
            # With a CA of its own, that one alone is trusted; otherwise the system's.
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ValueError):  # SSLError is an OSError, and says little
            raise ConfigError(
                "redis.tls_ca, redis.tls_cert or redis.tls_key is not what it should be",
                hint="CA, certificate and key in PEM; the key without a passphrase and belonging to the certificate.",
            ) from None
        context.check_hostname = self.verify == "full"
        if self.verify == "none":
            context.verify_mode = ssl.CERT_NONE
        return context


class Target(NamedTuple):
    """One Redis, however many servers it has. ``addresses``: the server, some nodes, or the sentinels."""

    kind: Kind
    addresses: tuple[Address, ...]
    database: int = 0
    service: str = ""
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: Tls | None = None
    unix: bool = False


def redis_target(settings: Settings) -> Target:
    """The Redis that the settings mean. Raises ConfigError for a URL, a password file or a certificate that is none."""
    url = settings["redis.url"]
    match = _URL.fullmatch(url)
    if match is None:
        raise _not_a_url(url, Kind.SINGLE)
    scheme = match["scheme"].lower()
    kind = Kind(scheme.partition("+")[2])
    try:
        options = _options(match["query"] or "", kind)
        username, _, password = (match["user"] or "").partition(":")
        # A password that the URL does not have comes from elsewhere.
        login = Login(unquote(username) or None, unquote(password) or _secret(settings, "redis.password"))
        if scheme == "unix":
            path = unquote(match["path"] or "")
            if match["hosts"] or not path:
                raise ValueError
            return Target(kind, ((path, 0),), int(options.get("db", "0")), login=login, unix=True)
        service, database = _path(match["path"] or "", kind, options)
        return Target(
            kind,
            _addresses(match["hosts"], kind),
            database,
            service,
            login,
            Login(
                options.get("sentinel_username"),
                options.get("sentinel_password") or _secret(settings, "redis.sentinel_password"),
            ),
            _tls(settings) if scheme.startswith("rediss") else None,
        )
    except ValueError:
        raise _not_a_url(url, kind) from None


def _not_a_url(url: str, kind: Kind) -> ConfigError:
    what = f"URL of a Redis {kind.value.title()}" if kind is not Kind.SINGLE else "Redis URL"
    return ConfigError(f"redis.url {mask_url(url)[:120]!r} is not a {what}", hint=_EXAMPLES[kind.value])


def _addresses(hosts: str, kind: Kind) -> tuple[Address, ...]:
    found = []
    for text in hosts.split(","):
        match = _HOST.fullmatch(text)
        port = int((match and match["port"]) or (26379 if kind is Kind.SENTINEL else 6379))
        if match is None or not 0 < port < 65536:
            raise ValueError
        found.append((match["host"].strip("[]"), port))
    if kind is Kind.SINGLE and len(found) > 1:
        raise ValueError
    return tuple(found)


def _path(path: str, kind: Kind, options: dict[str, str]) -> tuple[str, int]:
    """Service and database number."""
    parts = [part for part in path.split("/") if part]
    service = unquote(parts.pop(0)) if kind is Kind.SENTINEL and parts else ""
    database = int(parts.pop(0) if parts else options.get("db", "0"))
    if parts or database < 0 or (kind is Kind.CLUSTER and database) or (kind is Kind.SENTINEL and not service):
        raise ValueError
    return service, database


def _options(query: str, kind: Kind) -> dict[str, str]:
    known = {"db"} | ({"sentinel_username", "sentinel_password"} if kind is Kind.SENTINEL else set())
    options = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            raise ConfigError(
                f"redis.url has an option {name[:40]!r} that flightctl does not know",
                hint=f"It knows {', '.join(sorted(known))}; certificates are settings, redis.tls_ca and so on.",
            )
        options[name] = unquote(value)
    return options


def _secret(settings: Settings, name: str) -> str | None:
    """A password from its setting or, where that is empty, from the file that ``name``_file names."""
    if settings[name]:
        return str(settings[name])
    path = settings[f"{name}_file"]
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{name}_file: {path} cannot be read: {reason}") from None


def _tls(settings: Settings) -> Tls:
    return Tls(
        settings["redis.tls_ca"], settings["redis.tls_cert"], settings["redis.tls_key"], settings["redis.tls_verify"]
    )
