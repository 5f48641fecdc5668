"""Configuration: every setting, its default, and where its value came from.

Precedence, highest first: command-line flags, of which ``--context`` gives all settings of that context;
``FLIGHTCTL_*`` environment variables; a context that was chosen otherwise; the YAML file named by ``--config`` or
``FLIGHTCTL_CONFIG``; the defaults below (``config/default.yaml`` spells the same out; a test holds the two together, so
that no command pays for reading YAML it does not need).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from flightctl.core.contexts import Context, choose
from flightctl.core.durations import format_duration, parse_duration
from flightctl.core.errors import ConfigError, ValidationError
from flightctl.core.layers import Layers
from flightctl.core.refund_rules import parse_rules, write_rules
from flightctl.core.settings_file import flatten, read_document

_KINDS: Final = {
    "int": "a whole number",
    "ratio": "a number from 0 to 1",
    "duration": "a duration",
    "rules": "a table of shares such as 72h=100%, 24h=50%, 0h=0%",
}
"""Those that a value can fail to be."""


class Setting(NamedTuple):
    """One setting: dotted key, kind, default and bounds.

    Kinds: ``str``, ``secret``, ``int``, ``ratio``, ``duration`` (kept in seconds), ``rules`` (RefundRules), ``choice``.
    ``low`` and ``high`` are inclusive.
    """

    key: str
    kind: str
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return "FLIGHTCTL_" + self.key.upper().replace(".", "_")


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("environment", "str", "development"),
    Setting("database.url", "str", ""),
    Setting("database.read_urls", "str", ""),
    Setting("database.max_replica_lag", "duration", 10.0, 0, 86400),
    Setting("database.password", "secret", ""),
    Setting("database.password_file", "str", ""),
    Setting("database.tls", "choice", "none", choices=("none", "verified", "unverified")),
    Setting("database.tls_ca", "str", ""),
    Setting("database.tls_cert", "str", ""),
    Setting("database.tls_key", "str", ""),
    Setting("database.connect_timeout", "duration", 3.0, 0.1, 60),
    Setting("database.lock_timeout", "duration", 5.0, 1, 50),
    Setting("database.retry_timeout", "duration", 8.0, 0, 120),
    Setting("database.answer_timeout", "duration", 60.0, 1, 86400),
    Setting("redis.url", "str", ""),
    Setting("redis.password", "secret", ""),
    Setting("redis.password_file", "str", ""),
    Setting("redis.sentinel_password", "secret", ""),
    Setting("redis.sentinel_password_file", "str", ""),
    Setting("redis.tls_ca", "str", ""),
    Setting("redis.tls_cert", "str", ""),
    Setting("redis.tls_key", "str", ""),
    Setting("redis.tls_verify", "choice", "full", choices=("full", "ca", "none")),
    Setting("redis.prefix", "str", ""),
    Setting("redis.pause", "duration", 5.0, 0, 3600),
    Setting("locking", "choice", "redis", choices=("redis", "database")),
    Setting("booking.hold", "duration", 300.0, 1, 86400),
    Setting("booking.max_seats", "int", 9, 1, 500),
    Setting("release.refund", "rules", ()),
    Setting("search.min_connection", "duration", 3600.0, 0, 86400),
    Setting("search.max_connection", "duration", 21600.0, 0, 172800),
    Setting("search.packed_days", "int", 0, 0, 366),
    Setting("sweep.interval", "duration", 10.0, 0.1, 3600),
    Setting("sweep.batch_size", "int", 500, 1, 10000),
    Setting("payments.interval", "duration", 0.5, 0.05, 3600),
    Setting("payments.batch_size", "int", 50, 1, 1000),
    Setting("payments.lease", "duration", 30.0, 1, 3600),
    Setting("payments.abandon_after", "duration", 86400.0, 60, 2592000),
    Setting("gateway.success", "ratio", 1.0, 0, 1),
    Setting("gateway.failure", "ratio", 0.0, 0, 1),
    Setting("gateway.timeout", "ratio", 0.0, 0, 1),
    Setting("gateway.delay", "duration", 0.0, 0, 300),
    Setting("gateway.secret", "str", ""),
    Setting("gateway.tolerance", "duration", 300.0, 1, 86400),
)
_BY_KEY: Final = {setting.key: setting for setting in SETTINGS}
_WHOLE: Final = frozenset(setting.key for setting in SETTINGS if setting.kind == "rules")
"""Settings whose value may be a mapping."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force (``values``) and the source of each (``sources``), both by dotted key.

    ``context`` is the one they are for; ``remarks`` are what its user should hear of how it and other sources mixed.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    context: Context | None = None
    remarks: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    @property
    def production(self) -> bool:
        return str(self["environment"]).strip().lower() == "production"

    @property
    def redis_configured(self) -> bool:
        return bool(self["redis.url"])


def default_database_path(environ: Mapping[str, str] | None = None) -> Path:
    """The embedded database's file in the user's data folder (XDG Base Directory Specification)."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "flightctl" / "flightctl.db"


def load_settings(
    config_file: str | None = None, environ: Mapping[str, str] | None = None, *, context: str | None = None
) -> Settings:
    """Resolve every setting. ``config_file`` and ``context`` are those of the command line.

    Raises ConfigError for an unreadable file, an unknown key or context, a value out of range, naming where it stands.
    """
    environ = os.environ if environ is None else environ
    path = config_file or environ.get("FLIGHTCTL_CONFIG") or None
    chosen = choose(context, environ)
    layers = Layers(
        chosen,
        _known(chosen.settings, f"context {chosen.name}") if chosen else {},
        {setting.key: environ[setting.variable] for setting in SETTINGS if setting.variable in environ},
        _read_file(Path(path)) if path else {},
        named_file=config_file,
    )
    names = {"context": f"context {chosen.name}" if chosen else "", "variable": "", "file": str(path)}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        found = layers.find(setting.key)
        if found is None:
            values[setting.key], source = setting.default, "default"
        else:
            source = names[found.layer] or setting.variable
            values[setting.key] = _convert(setting, found.raw, source)
        sources[setting.key] = source
    if not values["database.url"]:
        values["database.url"] = f"sqlite:///{default_database_path(environ)}"
    _check_together(values)
    return Settings(values, sources, chosen, layers.remarks(lambda key: _BY_KEY[key].variable))


def _check_together(values: Mapping[str, Any]) -> None:
    if values["search.min_connection"] > values["search.max_connection"]:
        raise ConfigError("search.min_connection is longer than search.max_connection")
    shares = values["gateway.success"] + values["gateway.failure"] + values["gateway.timeout"]
    if shares <= 0:
        raise ConfigError("gateway.success, gateway.failure and gateway.timeout are all 0")


def _read_file(path: Path) -> dict[str, Any]:
    document = read_document(path, "configuration file", missing_hint="Check --config and FLIGHTCTL_CONFIG.")
    return _known(document, f"configuration file {path}")


def _known(document: Mapping[Any, Any], where: str) -> dict[str, Any]:
    flat = flatten(document, where, _WHOLE)
    for key in flat:
        if key not in _BY_KEY:
            raise ConfigError(f"{where}: unknown setting {key!r}", hint=_suggest(key))
    return flat


def _suggest(key: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, _BY_KEY, n=1)
    return f"Did you mean {close[0]}?" if close else "`flightctl config show` lists the settings there are."


_OTHER_VARIABLES: Final = ("CONFIG", "CONTEXT", "CONTEXTS", "OUTPUT", "ACTOR", "DEBUG", "PAGER")


def misspelt_variables(environ: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Variables that nothing reads, with those that were probably meant. Those of the tests are not ours."""
    from difflib import get_close_matches

    prefix = "FLIGHTCTL_"
    known = [*(setting.variable.removeprefix(prefix) for setting in SETTINGS), *_OTHER_VARIABLES]
    given = sorted(name for name in (os.environ if environ is None else environ) if name.startswith(prefix))
    unknown = [name for name in (name.removeprefix(prefix) for name in given) if name not in known]
    close = {name: get_close_matches(name, known, n=2) for name in unknown if not name.startswith("TEST_")}
    return {prefix + name: [prefix + each for each in meant] for name, meant in close.items() if meant}


def _convert(setting: Setting, raw: Any, source: str) -> Any:
    where = f"{source}: " if source == setting.variable else f"{source}: {setting.key}: "
    value: Any
    try:
        if setting.kind == "secret":
            value = str(raw)
        elif setting.kind in {"str", "choice"}:
            value = str(raw).strip()
        elif setting.kind == "int":
            value = int(str(raw).strip())
        elif setting.kind == "rules":
            value = parse_rules(raw if isinstance(raw, Mapping) else str(raw))
        elif setting.kind == "ratio":
            value = float(raw)
        else:
            value = parse_duration(str(raw), setting.key)
    except (ValueError, ValidationError):
        raise ConfigError(
            f"{where}{str(raw)[:60]!r} is not {_KINDS[setting.kind]}",
            hint=f"The default is {display(setting.default, setting) or 'empty'}.",
        ) from None
    if setting.key == "environment" and value.lower() in _NEARLY_PRODUCTION:
        raise ConfigError(f"{where}{value!r} would protect nothing", hint="Write production, or another name.")
    if setting.choices and value.lower() not in setting.choices:
        raise ConfigError(f"{where}{str(raw)[:60]!r} is not one of {', '.join(setting.choices)}")
    if setting.choices:
        value = value.lower()
    # `not (low <= value)` also refuses NaN.
    if setting.low is not None and setting.high is not None and not (setting.low <= value <= setting.high):
        low, high = display(setting.low, setting), display(setting.high, setting)
        raise ConfigError(f"{where}{str(raw)[:60]} is out of range", hint=f"It goes from {low} to {high}.")
    return value


_NEARLY_PRODUCTION: Final = frozenset({"prod", "prd", "producton", "prodution", "productive", "live"})


def display(value: Any, setting: Setting) -> str:
    """A setting's value as people write it; of a secret only whether there is one."""
    if setting.kind == "secret":
        return "***" if value else ""
    if setting.kind == "rules":
        return write_rules(value)
    return format_duration(float(value)) if setting.kind == "duration" else f"{value}"


def mask_url(url: str) -> str:
    """``url`` with any password, and any query value that may be a secret, replaced by ``***``."""
    # From the first colon to the last @, URL or not: a password may hold anything where it was not quoted.
    masked = re.sub(r"(?s)(:(?!//)).*@", r"\1***@", url)
    return re.sub(r"(?i)([?&][^=&#\s]*(?:password|passwd|secret|token)=)[^&#\s]*", r"\1***", masked)


def describe(settings: Settings) -> list[dict[str, str]]:
    """What ``config show`` prints: key, value (secrets masked), source and environment variable."""
    rows = []
    for setting in SETTINGS:
        value = settings.values[setting.key]
        shown = mask_url(value) if setting.key.endswith(("url", "urls")) else display(value, setting)
        if setting.key.endswith(".secret") and value:
            shown = "***"
        rows.append(
            {"key": setting.key, "value": shown, "source": settings.sources[setting.key], "variable": setting.variable}
        )
    return rows
