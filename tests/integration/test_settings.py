"""Settings: the shipped file and the code agree, who wins over whom, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flightctl.core.database_url import parse_address
from flightctl.core.durations import format_duration, parse_duration
from flightctl.core.errors import ConfigError, ValidationError
from flightctl.core.resources import resource
from flightctl.core.settings import SETTINGS, default_database_path, describe, load_settings, mask_url

SECRET = "s3cr3t"


def test_the_shipped_file_spells_out_the_defaults() -> None:
    shipped = load_settings(str(resource("config/default.yaml")), environ={})
    built_in = load_settings(environ={})
    assert dict(shipped.values) == dict(built_in.values)
    flat: dict[str, Any] = {}

    def flatten(node: dict[str, Any], prefix: str = "") -> None:
        for name, value in node.items():
            if isinstance(value, dict):
                flatten(value, f"{prefix}{name}.")
            else:
                flat[prefix + name] = value

    flatten(yaml.safe_load(resource("config/default.yaml").read_text()))
    assert list(flat) == [setting.key for setting in SETTINGS]  # none is missing, and in the same order
    assert all(value is not None for value in flat.values())


def test_figures_of_the_specification() -> None:
    values = load_settings(environ={}).values
    assert values["booking.hold"] == 300
    assert values["booking.max_seats"] == 9
    assert values["search.min_connection"] == 3600
    assert values["search.max_connection"] == 6 * 3600
    assert values["sweep.interval"] == 10
    assert values["sweep.batch_size"] == 500
    assert values["redis.prefix"] == ""
    assert values["locking"] == "redis"


def test_precedence(tmp_path: Path) -> None:
    named, by_variable = tmp_path / "named.yaml", tmp_path / "variable.yaml"
    named.write_text("booking: {hold: 7m, max_seats: 7}\nlocking: database\n")
    by_variable.write_text("booking:\n  hold: 8m\n")
    settings = load_settings(str(named), {"FLIGHTCTL_BOOKING_HOLD": "9m", "FLIGHTCTL_CONFIG": str(by_variable)})
    assert (settings["booking.hold"], settings.sources["booking.hold"]) == (540, "FLIGHTCTL_BOOKING_HOLD")
    assert (settings["booking.max_seats"], settings.sources["booking.max_seats"]) == (7, str(named))
    assert settings["locking"] == "database"
    assert settings.sources["sweep.interval"] == "default"
    assert load_settings(environ={"FLIGHTCTL_CONFIG": str(by_variable)})["booking.hold"] == 480
    empty = load_settings(environ={"FLIGHTCTL_REDIS_URL": "", "FLIGHTCTL_CONFIG": ""})
    assert not empty.redis_configured


def test_an_empty_variable_wins_over_the_file(tmp_path: Path) -> None:
    """An empty FLIGHTCTL_REDIS_URL means no Redis."""
    file = tmp_path / "f.yaml"
    file.write_text("redis: {url: 'redis://127.0.0.1/0'}")
    assert load_settings(str(file), {}).redis_configured
    assert not load_settings(str(file), {"FLIGHTCTL_REDIS_URL": ""}).redis_configured


def test_an_empty_file_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "booking:\nredis:\n  url:\n"):
        file = tmp_path / "f.yaml"
        file.write_text(text)
        assert dict(load_settings(str(file), {}).values) == dict(load_settings(environ={}).values)


def test_the_embedded_file_is_in_the_users_data_folder() -> None:
    environ = {"XDG_DATA_HOME": "/data"}
    assert default_database_path(environ) == Path("/data/flightctl/flightctl.db")
    assert load_settings(environ=environ)["database.url"] == "sqlite:////data/flightctl/flightctl.db"


@pytest.mark.parametrize("name", ["production", "PRODUCTION", " Production "])
def test_production(name: str) -> None:
    assert load_settings(environ={"FLIGHTCTL_ENVIRONMENT": name}).production
    assert not load_settings(environ={"FLIGHTCTL_ENVIRONMENT": "test"}).production


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BOOKING_HOLD", "0s"),
        ("BOOKING_HOLD", "25h"),
        ("BOOKING_HOLD", "5"),
        ("BOOKING_HOLD", ""),
        ("BOOKING_HOLD", "five minutes"),
        ("BOOKING_HOLD", "-5m"),
        ("BOOKING_HOLD", "nan"),
        ("BOOKING_MAX_SEATS", "0"),
        ("BOOKING_MAX_SEATS", "9.5"),
        ("BOOKING_MAX_SEATS", "nine"),
        ("LOCKING", "none"),
        ("LOCKING", ""),
        ("GATEWAY_SUCCESS", "1.1"),
        ("GATEWAY_SUCCESS", "-0.1"),
        ("GATEWAY_SUCCESS", "nan"),
        ("GATEWAY_SUCCESS", "inf"),
        ("SWEEP_BATCH_SIZE", "100000"),
        ("PAYMENTS_LEASE", "0s"),
    ],
)
def test_values_out_of_range(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"FLIGHTCTL_{variable}") as caught:
        load_settings(environ={f"FLIGHTCTL_{variable}": value})
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    "environ",
    [
        {"FLIGHTCTL_SEARCH_MIN_CONNECTION": "7h"},
        {"FLIGHTCTL_GATEWAY_SUCCESS": "0"},
    ],
    ids=str,
)
def test_values_that_do_not_go_together(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        load_settings(environ=environ)


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n",
        "just text",
        "booking: [1",
        "booking: {hold: 5m",
        "booking: 5m\n",
        "bookings: {hold: 5m}\n",
        "booking: {holds: 5m}\n",
        "booking: {hold: [1, 2]}\n",
        "booking: {hold: 0s}\n",
        "booking: {max_seats: many}\n",
        "!!python/object/apply:os.system ['true']\n",
        "a: &a [*a]\n",
        "? {a: b}\n: c\n",
        "1: 2\n",
        "\x00",
        "\tbooking: 1",
        "[" * 2000,
    ],
    ids=lambda text: text[:20],
)
def test_bad_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"f\.yaml") as caught:
        load_settings(str(file), {})
    assert len(caught.value.message) < 400


def test_unusable_files(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    for path in (tmp_path / "nosuch", tmp_path, binary):
        with pytest.raises(ConfigError, match=str(path)):
            load_settings(str(path), {})
        with pytest.raises(ConfigError):
            load_settings(environ={"FLIGHTCTL_CONFIG": str(path)})


def test_a_slip_of_the_keyboard_is_put_right(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("booking: {hodl: 5m}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(str(file), {})
    assert "booking.hold" in caught.value.hint


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"mysql+pymysql://user:{SECRET}@host:3306/name",
        f"mysql+pymysql://user:{SECRET}@host/name?charset=utf8mb4",
        f"redis://:{SECRET}@host:6379/0",
        f"rediss://user:{SECRET}@host",
        f"redis://host:6379/0?password={SECRET}",
        f"mysql://host/name?user=a&password={SECRET}&x=1",
        f"mysql://user:a@{SECRET}@host/name",
        f"mysql://user:a:{SECRET}@host/name",
        f"mysql://user:{SECRET}/x@host/name",
        f"mysql://user:{SECRET}#x@host/name",
        f"mysql://user:{SECRET}?x@host/name",
        f"mysql://user:{SECRET} x@host/name",
        f"mysql://us/er:{SECRET}@host/name",
    ],
)
def test_passwords_are_masked(url: str) -> None:
    assert SECRET not in mask_url(url)
    for key in ("DATABASE_URL", "REDIS_URL"):
        shown = {row["key"]: row for row in describe(load_settings(environ={f"FLIGHTCTL_{key}": url}))}
        assert SECRET not in str(shown)


@pytest.mark.parametrize(
    "url", ["sqlite:////data/f.db", "mysql://host/name", "redis://host:6379/0", "mysql+pymysql://user@host/name"]
)
def test_urls_without_a_password_are_shown_as_they_are(url: str) -> None:
    assert mask_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@host/name",
        f"user:{SECRET}@host/name",
        f"mysql://user:{SECRET}@host:99999/name",
        f"mysql://user:{SECRET}@host:port/name",
        f"mysql://user:a@{SECRET}@host/name",
        f"oracle://user:{SECRET}@host",
        "nonsense",
        "://",
        "mysql+mysqldb",
    ],
)
def test_bad_database_urls(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert SECRET not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"


def test_sqlite_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    for url, file in (
        ("sqlite:////data/a%20b.db?timeout=5", "/data/a b.db"),
        ("sqlite:///~/f.db", "/home/ops/f.db"),
        ("sqlite:///here.db", "here.db"),
    ):
        assert parse_address(url).database == file
    with pytest.raises(ConfigError, match="'foo' is not known"):
        parse_address("sqlite:////data/f.db?foo=1")


def test_describe_names_every_setting_and_its_source() -> None:
    rows = describe(load_settings(environ={"FLIGHTCTL_BOOKING_HOLD": "90s"}))
    by_key = {row["key"]: row for row in rows}
    assert list(by_key) == [setting.key for setting in SETTINGS]
    assert by_key["booking.hold"] == {
        "key": "booking.hold",
        "value": "90s",
        "source": "FLIGHTCTL_BOOKING_HOLD",
        "variable": "FLIGHTCTL_BOOKING_HOLD",
    }
    for row in rows:  # what is shown can be written back
        if row["key"] not in {"database.url"}:
            load_settings(environ={row["variable"]: row["value"]})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("2d", 172800), ("500ms", 0.5), (" 1.5H ", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-1m", "1 m", "1m30s", "1e3s", "٣m", "1w", "9" * 20 + "s", "NaNs"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValidationError):
        parse_duration(text)
