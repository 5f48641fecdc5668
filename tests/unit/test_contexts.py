"""Contexts: which one is chosen, what of it wins over what, and the file that keeps them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from flightctl.core.context_list import list_contexts, use_context
from flightctl.core.errors import ConfigError, EnvironmentProtectedError
from flightctl.core.protection import refuse_in_production
from flightctl.core.settings import Settings, load_settings
from flightctl.production import banner, changes

STAGING, PROD, OTHER = (f"mysql+pymysql://agent:s3cr3t@{name}:3306/flightctl" for name in ("staging", "prod", "other"))
TEXT = f"""\
# ours
current: staging   # for now
contexts:
  staging:  # both ways of writing keys
    environment: staging
    database.url: {STAGING}
    booking: {{hold: 7m}}
  prod:
    environment: Production
    database: {{url: '{PROD}'}}
    redis: {{url: 'redis://:s3cr3t@prod/0', prefix: 'p:', password_file: /etc/secret}}
  bare: {{locking: database}}
  empty:
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "flightctl" / "contexts.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    return path


@pytest.fixture
def environ(file: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(file.parents[1])}


def chosen(settings: Settings) -> tuple[str, str] | None:
    return None if settings.context is None else (settings.context.name, settings.context.by)


# --- which one


def test_who_chooses(environ: dict[str, str]) -> None:
    assert chosen(load_settings(environ=environ)) == ("staging", "current")
    named = {**environ, "FLIGHTCTL_CONTEXT": "prod"}
    assert chosen(load_settings(environ=named)) == ("prod", "FLIGHTCTL_CONTEXT")
    assert chosen(load_settings(environ=named, context="bare")) == ("bare", "--context")
    assert chosen(load_settings(environ=named, context="")) is None, "an empty name is for none"
    assert chosen(load_settings(environ={**environ, "FLIGHTCTL_CONTEXT": ""})) is None
    assert chosen(load_settings(environ=environ, context="empty")) == ("empty", "--context")


def test_the_file_may_stand_elsewhere(file: Path, tmp_path: Path) -> None:
    elsewhere = file.rename(tmp_path / "mine.yaml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "FLIGHTCTL_CONTEXTS": str(elsewhere)}
    assert load_settings(environ=environ)["database.url"] == STAGING
    elsewhere.unlink()
    with pytest.raises(ConfigError, match=r"mine\.yaml does not exist"):
        load_settings(environ=environ)


def test_without_the_file_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: looked.append(str(path)) or real(path))
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load_settings(environ=environ).context is None
    assert looked == [str(tmp_path / "flightctl" / "contexts.yaml")]
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(environ=environ, context="staging")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stagin", "Did you mean staging?"), ("PROD", "Did you mean prod?"), ("xyz", "There are staging")],
)
def test_an_unknown_one(environ: dict[str, str], name: str, hint: str) -> None:
    for how in ({"context": name, "environ": environ}, {"environ": {**environ, "FLIGHTCTL_CONTEXT": name}}):
        with pytest.raises(ConfigError, match=name) as caught:
            load_settings(**how)  # type: ignore[arg-type]
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "contexts: [a]\n",
        "contexts: {a: b}\n",
        "contexts: {1: {}}\n",
        "contexts: {yes: {}}\n",
        "contexts: {a: {}}\ncurrent: [a]\n",
        "current: a\n",
        "context: {a: {}}\n",
        "contexts: {a: {nonsense: 1}}\ncurrent: a\n",
        "contexts: {a: {booking.hold: long}}\ncurrent: a\n",
        "contexts: &c {a: *c}\ncurrent: a\n",
        "contexts: {a: {booking: 5m}}\ncurrent: a\n",
        "contexts: {",
    ],
)
def test_bad_files(file: Path, environ: dict[str, str], text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(environ=environ)
    assert caught.value.exit_status == 2
    load_settings(environ={**environ, "FLIGHTCTL_CONTEXT": ""})  # which asks for none of it


def test_a_fault_in_one_context_spares_the_others(file: Path, environ: dict[str, str]) -> None:
    file.write_text(TEXT + "  broken: {nonsense: 1}\n")
    assert load_settings(environ=environ)["environment"] == "staging"
    with pytest.raises(ConfigError, match="context broken: unknown setting"):
        load_settings(environ=environ, context="broken")


# --- what wins


def test_the_order_of_sources(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "f.yaml"
    config.write_text("booking: {hold: 8m, max_seats: 8}\nsweep: {interval: 8s}\n")
    variables = {**environ, "FLIGHTCTL_BOOKING_HOLD": "9m", "FLIGHTCTL_BOOKING_MAX_SEATS": "9"}
    keys = ("booking.hold", "booking.max_seats", "sweep.interval")
    current = load_settings(str(config), variables)
    assert [current.sources[key] for key in keys] == [
        "FLIGHTCTL_BOOKING_HOLD",
        "FLIGHTCTL_BOOKING_MAX_SEATS",
        str(config),
    ]
    assert current.remarks == (
        "FLIGHTCTL_BOOKING_HOLD wins over context staging; --context staging would win over variables",
    )
    named = load_settings(str(config), variables, context="staging")
    assert [named.sources[key] for key in keys] == ["context staging", "FLIGHTCTL_BOOKING_MAX_SEATS", str(config)]
    assert (named["booking.hold"], named.remarks) == (420, ())
    assert load_settings(str(config), environ)["booking.hold"] == 420, "the context wins over the file"


def test_a_named_context_is_not_turned_to_another_server(environ: dict[str, str]) -> None:
    elsewhere = {
        **environ,
        "FLIGHTCTL_DATABASE_URL": OTHER,
        "FLIGHTCTL_DATABASE_READ_URLS": OTHER,
        "FLIGHTCTL_REDIS_URL": "redis://other/0",
        "FLIGHTCTL_REDIS_PREFIX": "o:",
        "FLIGHTCTL_REDIS_PASSWORD": "s3cr3t",
    }
    staging = load_settings(environ=elsewhere, context="staging")
    assert (staging["database.url"], staging["redis.url"], staging["redis.prefix"]) == (STAGING, "", "")
    assert staging["database.read_urls"] == ""
    assert staging["redis.password"] == "s3cr3t", "a secret may well stand in the environment"
    prod = load_settings(environ=elsewhere, context="prod")
    assert (prod["redis.url"], prod["redis.prefix"]) == ("redis://:s3cr3t@prod/0", "p:")
    assert (prod["redis.password"], prod["redis.password_file"]) == ("", "/etc/secret")
    bare = load_settings(environ=elsewhere, context="bare")
    assert (bare["database.url"], bare["redis.url"]) == (OTHER, "redis://other/0"), "it names no server"


def test_the_database_of_a_variable_does_not_get_the_redis_of_a_context(environ: dict[str, str]) -> None:
    settings = load_settings(environ={**environ, "FLIGHTCTL_CONTEXT": "prod", "FLIGHTCTL_DATABASE_URL": OTHER})
    assert (settings["database.url"], settings["redis.url"], settings["redis.prefix"]) == (OTHER, "", "")
    assert settings.production, "not what its name says any more, but nobody said otherwise"
    assert "FLIGHTCTL_DATABASE_URL wins" in settings.remarks[0]
    mixed = load_settings(environ={**environ, "FLIGHTCTL_REDIS_URL": "redis://other/0"})
    assert mixed.remarks == ("FLIGHTCTL_REDIS_URL may be of another system than the database of context staging",)
    assert load_settings(environ={**environ, "FLIGHTCTL_REDIS_URL": ""}).remarks == ()


def test_production_is_not_talked_away(environ: dict[str, str]) -> None:
    lifted = {**environ, "FLIGHTCTL_CONTEXT": "prod", "FLIGHTCTL_ENVIRONMENT": "test"}
    settings = load_settings(environ=lifted)
    assert settings.production
    assert settings.sources["environment"] == "context prod"
    assert settings.remarks == ("FLIGHTCTL_ENVIRONMENT is not heard: context prod is production",)
    assert not load_settings(environ={**lifted, "FLIGHTCTL_DATABASE_URL": OTHER}).production
    assert not load_settings(environ={**lifted, "FLIGHTCTL_CONTEXT": "staging"}).production
    protected = {**environ, "FLIGHTCTL_ENVIRONMENT": "production"}
    assert load_settings(environ=protected).production
    assert load_settings(environ=protected, context="bare").production, "it says nothing of its environment"


def test_a_current_context_tells_of_the_file_it_beats(environ: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "f.yaml"
    config.write_text(f"database: {{url: '{OTHER}'}}\nlocking: redis\n")
    settings = load_settings(str(config), environ)
    assert settings["database.url"] == STAGING
    assert "database.url of the current context staging wins" in settings.remarks[0]
    assert load_settings(str(config), environ, context="staging").remarks == ()
    assert load_settings(str(config), environ, context="")["database.url"] == OTHER


def test_what_is_refused_tells_why(environ: dict[str, str]) -> None:
    with pytest.raises(EnvironmentProtectedError) as caught:
        refuse_in_production(load_settings(environ=environ, context="prod"), "no")
    assert caught.value.hint == "environment is production by context prod."
    refuse_in_production(load_settings(environ=environ), "no")


# --- the banner


def test_the_banner(environ: dict[str, str]) -> None:
    assert banner(load_settings(environ=environ, context="prod")) == "PRODUCTION  context prod  prod:3306/flightctl"
    assert banner(load_settings(environ={"FLIGHTCTL_DATABASE_URL": "sqlite:////data/f.db"})) == "PRODUCTION  /data/f.db"


@pytest.mark.parametrize(
    ("command", "params", "changing"),
    [
        ("book", {}, True),
        ("bookings list", {}, False),
        ("search", {}, False),
        ("sweep", {"dry_run": False}, True),
        ("sweep", {"dry_run": True}, False),
        ("release", {"quote": True}, False),
        ("audit", {"repair": False}, False),
        ("audit", {"repair": True}, True),
        ("db upgrade", {}, True),
        ("a command to come", {}, True),
    ],
)
def test_what_changes_something(command: str, params: dict[str, bool], changing: bool) -> None:
    assert changes(command, params) is changing


# --- the file, listed and changed


def test_the_list(environ: dict[str, str]) -> None:
    found = list_contexts(None, environ)
    assert [(row["name"], row["current"], row["environment"]) for row in found.rows] == [
        ("staging", True, "staging"),
        ("prod", False, "Production"),
        ("bare", False, None),
        ("empty", False, None),
    ]
    assert found.rows[1]["redisUrl"] == "redis://:***@prod/0"
    assert "s3cr3t" not in str(found)
    assert [row["name"] for row in list_contexts("prod", environ).rows if row["current"]] == ["prod"]
    assert not [row for row in list_contexts("", environ).rows if row["current"]]
    with pytest.raises(ConfigError):
        list_contexts("nosuch", environ)


def test_the_list_without_a_file(tmp_path: Path) -> None:
    assert list_contexts(None, {"XDG_CONFIG_HOME": str(tmp_path)}).rows == []


def test_a_current_context_that_is_gone_can_be_mended(file: Path, environ: dict[str, str]) -> None:
    file.write_text(TEXT.replace("current: staging", "current: gone"))
    assert list_contexts(None, environ).missing == "gone"
    use_context("prod", environ)
    assert list_contexts(None, environ).missing == ""


def test_use_changes_one_line(file: Path, environ: dict[str, str]) -> None:
    file.chmod(0o644)
    row, overruled = use_context("prod", environ)
    assert (row["name"], row["current"], row["changed"], overruled) == ("prod", True, True, "")
    assert file.read_text() == TEXT.replace("current: staging", "current: prod")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["contexts.yaml"]
    row, overruled = use_context("prod", {**environ, "FLIGHTCTL_CONTEXT": "staging", "FLIGHTCTL_BOOKING_HOLD": "x"})
    assert (row["changed"], overruled) == (False, "FLIGHTCTL_CONTEXT")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b", "contexts: {a: {}, b: {}}\n"),
        ("b", "# first\n---\ncontexts:\n  a:\n  b:\n"),
        ("b", "{current: a, contexts: {a: {}, b: {}}}\n"),
        ("b", "contexts: {a: {}, b: {}}\ncurrent: 'a' # why\n"),
        ("b", 'current:\n  "a"\ncontexts: {a: {}, b: {}}\n'),
        ("b", "current:\ncontexts: {a: {}, b: {}}"),
        ("b", "contexts:\n  a: {}\n  b: {booking.hold: 7m}\ncurrent: a\n"),
        ("no", "current: a\ncontexts: {a: {}, 'no': {}}\n"),
        ("1", "current: a\ncontexts: {a: {}, '1': {}}\n"),
        ("a b: é\\1", "current: a\ncontexts: {a: {}, 'a b: é\\1': {}}\n"),
    ],
)
def test_use_keeps_what_else_is_there(file: Path, environ: dict[str, str], name: str, text: str) -> None:
    file.write_text(text)
    before = yaml.safe_load(text)
    assert use_context(name, environ)[0]["changed"]
    assert yaml.safe_load(file.read_text()) == {**before, "current": name}
    for comment in (line.partition("#")[2] for line in text.splitlines() if "#" in line):
        assert comment in file.read_text()


def test_use_follows_a_link(file: Path, environ: dict[str, str], tmp_path: Path) -> None:
    dotfile = file.rename(tmp_path / "dotfile.yaml")
    file.symlink_to(dotfile)
    use_context("prod", environ)
    assert file.is_symlink()
    assert yaml.safe_load(dotfile.read_text())["current"] == "prod"


@pytest.mark.parametrize("name", ["nosuch", "broken", ""])
def test_use_refuses(file: Path, environ: dict[str, str], name: str) -> None:
    file.write_text(TEXT + "  broken: {booking.hold: long}\n")
    before = file.read_text()
    with pytest.raises(ConfigError):
        use_context(name, environ)
    assert file.read_text() == before


def test_a_write_that_fails_leaves_the_file(
    file: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        use_context("prod", environ)
    assert file.read_text() == TEXT
    assert os.listdir(file.parent) == ["contexts.yaml"]
