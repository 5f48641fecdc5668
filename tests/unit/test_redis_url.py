"""Redis URLs, passwords and certificates: what they mean, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightctl.core.errors import ConfigError
from flightctl.core.redis_url import Kind, Login, Target, redis_target
from flightctl.core.settings import describe, load_settings, mask_url

SECRET = "s3cr3t"


def target(url: str, **variables: str) -> Target:
    return redis_target(load_settings(environ={"FLIGHTCTL_REDIS_URL": url, **variables}))


def test_one_server() -> None:
    assert target("redis://h") == Target(Kind.SINGLE, (("h", 6379),))
    assert target("redis://h:1/3") == target("redis://h:1?db=3") == Target(Kind.SINGLE, (("h", 1),), 3)
    assert target("redis://[::1]:7/").addresses == (("::1", 7),)
    assert target("redis://me:a%40b%3A@h").login == Login("me", "a@b:")
    assert target("unix:///run/r.sock?db=2") == Target(Kind.SINGLE, (("/run/r.sock", 0),), 2, unix=True)
    assert target(f"unix://:{SECRET}@/run/r.sock").login == Login(None, SECRET)
    assert target("redis://h").tls is None
    assert target("rediss://h").tls is not None


def test_a_cluster() -> None:
    found = target(f"redis+cluster://:{SECRET}@h1:1,h2,[::1]:3/")
    assert found == Target(Kind.CLUSTER, (("h1", 1), ("h2", 6379), ("::1", 3)), login=Login(None, SECRET))
    assert target("rediss+cluster://h").tls is not None


def test_sentinels() -> None:
    found = target("redis+sentinel://u:p@h1,h2:2/flight/4?sentinel_username=s&sentinel_password=q%26")
    assert found == Target(Kind.SENTINEL, (("h1", 26379), ("h2", 2)), 4, "flight", Login("u", "p"), Login("s", "q&"))
    assert target("redis+sentinel://h/flight").database == 0


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host",
        f"redis://:{SECRET}@host:99999/0",
        f"redis://:{SECRET}@host:6379/zero",
        f"redis://:{SECRET}@host:port/0",
        f"redis://:{SECRET}@h1,h2/0",
        f"redis://:{SECRET}@host/0/1",
        f"redis://:{SECRET}@host?password={SECRET}",
        f"redis+cluster://:{SECRET}@host/1",
        f"redis+cluster://:{SECRET}@h1,,h2/",
        f"redis+sentinel://:{SECRET}@host/",
        f"redis+sentinel://:{SECRET}@host/service/x?sentinel_password={SECRET}",
        f"redis+sentinel://:{SECRET}@host/service?secret={SECRET}",
        f"redis+nothing://:{SECRET}@host",
        f"unix://:{SECRET}@host/path",
        "unix://",
        "redis://",
        "nonsense",
        f":{SECRET}@host",
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target(url)
    assert SECRET not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"


def test_a_password_comes_from_the_url_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    named = {"FLIGHTCTL_REDIS_PASSWORD_FILE": str(file), "FLIGHTCTL_REDIS_SENTINEL_PASSWORD_FILE": str(file)}
    assert target("redis://h", **named).login.password == "from the file"
    assert target("redis+sentinel://h/s", **named).sentinel_login.password == "from the file"
    assert target("redis://h", **named, FLIGHTCTL_REDIS_PASSWORD=" a ").login.password == " a "
    assert target("redis://:b@h", **named, FLIGHTCTL_REDIS_PASSWORD="a").login.password == "b"
    assert target("redis://user@h", FLIGHTCTL_REDIS_PASSWORD="a").login == Login("user", "a")
    with pytest.raises(ConfigError, match=r"redis\.password_file"):
        target("redis://h", FLIGHTCTL_REDIS_PASSWORD_FILE=str(tmp_path / "nosuch"))


def test_no_password_is_shown() -> None:
    variables = {"FLIGHTCTL_REDIS_PASSWORD": SECRET, "FLIGHTCTL_REDIS_SENTINEL_PASSWORD": SECRET}
    variables["FLIGHTCTL_REDIS_URL"] = f"redis+sentinel://u:{SECRET}@h1:1,h2:2/s?sentinel_password={SECRET}"
    settings = load_settings(environ=variables)
    shown = {row["key"]: row["value"] for row in describe(settings)}
    assert SECRET not in str(shown)
    assert shown["redis.password"] == shown["redis.sentinel_password"] == "***"
    assert mask_url(settings["redis.url"]) == "redis+sentinel://u:***@h1:1,h2:2/s?sentinel_password=***"
    assert SECRET not in repr(redis_target(settings))


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for file in (rubbish, tmp_path / "nosuch.pem"):
        for name in ("CA", "CERT"):
            found = target("rediss://h", **{f"FLIGHTCTL_REDIS_TLS_{name}": str(file)})
            assert found.tls is not None
            with pytest.raises(ConfigError, match=r"redis\.tls_"):
                found.tls.context()
