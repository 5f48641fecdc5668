"""TLS to the database against a private authority, and passwords that come from a file or the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from flightctl.core.database import Database
from flightctl.core.errors import ConfigError, DatabaseUnavailableError
from flightctl.core.settings import describe, load_settings
from tests.certificates import Authority
from tests.conftest import Cli, _private
from tests.faults import LOOPBACK
from tests.servers import ExternalMySQL, MariaDB

PASSWORD = "p@ss:w/rd %41"


@dataclass(frozen=True)
class Secured:
    """A server with TLS; ``flightctl`` may connect in any way, ``guarded`` with a client certificate only."""

    server: MariaDB
    authority: Authority
    client: tuple[Path, Path]

    def url(self, user: str = "guarded", host: str = LOOPBACK, query: str = "") -> str:
        return f"mysql+pymysql://{user}@{host}:{self.server.port}/tls{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate, key = authority.certificate("server", LOOPBACK)
    options = [f"--ssl-ca={authority.ca}", f"--ssl-cert={certificate}", f"--ssl-key={key}"]
    for server in _private(lambda: MariaDB(tmp_path_factory.mktemp("tls"), *options)):
        server.create_database("tls")
        with server.admin() as admin, admin.cursor() as cursor:
            for user, require in ("guarded", "X509"), ("open", "NONE"):
                for host in LOOPBACK, "localhost":
                    cursor.execute(f"CREATE USER '{user}'@'{host}' IDENTIFIED BY %s REQUIRE {require}", (PASSWORD,))
                    cursor.execute(f"GRANT SELECT ON tls.* TO '{user}'@'{host}'")
        yield Secured(server, authority, authority.certificate("client"))


def _cipher(**variables: object) -> str:
    """The cipher of a connection with these settings; empty without TLS."""
    environ = {f"FLIGHTCTL_DATABASE_{name}": str(value) for name, value in variables.items()}
    database = Database(load_settings(environ={"FLIGHTCTL_DATABASE_PASSWORD": PASSWORD, **environ}))
    database._checked = True  # no schema there
    try:
        return str(database.read(lambda tx: tx.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]))
    finally:
        database.close()


def test_a_client_certificate_by_settings_and_by_the_url(secured: Secured) -> None:
    certificate, key = secured.client
    ca = secured.authority.ca
    assert _cipher(URL=secured.url(), TLS_CA=ca, TLS_CERT=certificate, TLS_KEY=key)
    assert _cipher(URL=secured.url(query=f"?ssl_ca={ca}&ssl_cert={certificate}&ssl_key={key}"))
    with pytest.raises(DatabaseUnavailableError, match="refuses this account"):
        _cipher(URL=secured.url(), TLS_CA=ca)


def test_without_asking_there_is_no_tls(secured: Secured) -> None:
    assert _cipher(URL=secured.url("open")) == ""
    assert _cipher(URL=secured.url("open", query="?ssl_disabled=true"), TLS_CA=secured.authority.ca) == ""


def test_a_server_of_another_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "another CA").ca
    for variables in {"TLS_CA": other}, {"TLS": "verified"}:  # the system's authorities do not know it either
        with pytest.raises(DatabaseUnavailableError, match=r"TLS to the database failed: .*(certificate|signature)"):
            _cipher(URL=secured.url("open"), **variables)


def test_a_server_of_another_name_is_refused(secured: Secured) -> None:
    ca = secured.authority.ca
    with pytest.raises(DatabaseUnavailableError, match=r"TLS to the database failed: .*localhost"):
        _cipher(URL=secured.url("open", "localhost"), TLS_CA=ca)
    assert _cipher(URL=secured.url("open", "localhost", "?ssl_verify_identity=false"), TLS_CA=ca)


def test_verification_ends_only_where_that_is_said(secured: Secured) -> None:
    assert _cipher(URL=secured.url("open"), TLS="unverified")
    assert _cipher(URL=secured.url("open", query="?ssl=true&ssl_verify_cert=0"))
    assert _cipher(URL=secured.url("open", query="?ssl_verify_cert=false")), "encrypted all the same"
    with pytest.raises(DatabaseUnavailableError, match=r"fails at TLS|certificate|trust"):
        _cipher(URL=secured.url("open", query="?ssl_verify_identity=false"))


def test_a_server_without_tls_is_refused_when_tls_was_asked_for(
    mariadb: MariaDB | ExternalMySQL, mysql_url: str, secured: Secured
) -> None:
    """No silent fall back to plain text."""
    if isinstance(mariadb, ExternalMySQL):
        pytest.skip("the external server may well have TLS")
    # MySQL always has some TLS, with a certificate that it has signed itself.
    with pytest.raises(DatabaseUnavailableError, match=r"offers no TLS|self-signed"):
        _cipher(URL=mysql_url, TLS_CA=secured.authority.ca)


def test_tls_to_the_first_usable_of_several_servers(secured: Secured) -> None:
    port = secured.server.port
    several = secured.url("open").replace(f":{port}", f":1,{LOOPBACK}:{port}")
    assert _cipher(URL=several, TLS_CA=secured.authority.ca)
    with pytest.raises(DatabaseUnavailableError, match="fails at TLS"):
        _cipher(URL=several, TLS="verified")


def test_files_that_cannot_be_used_are_told(secured: Secured, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for variables in {"TLS_CA": tmp_path / "none.pem"}, {"TLS_CA": rubbish}, {"TLS_CERT": rubbish}:
        with pytest.raises(ConfigError, match="files for TLS"):
            _cipher(URL=secured.url(), **variables)
    with pytest.raises(ConfigError, match="ssl_cafile"):
        _cipher(URL=secured.url(query="?ssl_cafile=x"))


def test_nobody_is_asked_for_the_passphrase_of_a_key(
    secured: Secured, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in the midst of a completion or of cron's line."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    locked = tmp_path / "locked.pem"
    certificate, _ = secured.authority.certificate("locked")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    locked.write_bytes(certificate.read_bytes() + key)
    with pytest.raises(ConfigError, match="files for TLS"):
        _cipher(URL=secured.url(), TLS_CERT=locked)
    assert capfd.readouterr().err == ""


def test_a_password_from_a_file(secured: Secured, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    env = {"FLIGHTCTL_DATABASE_URL": secured.url("open"), "FLIGHTCTL_DATABASE_PASSWORD_FILE": str(file)}
    assert cli("db", "current", "-o", "json", env=env).json()["revision"] is None
    file.write_text("wrong\n")
    refused = cli("db", "current", env=env, check=7)
    assert "refuses this account" in refused.stderr
    file.write_text("")
    assert "no password in its first line" in cli("db", "current", env=env, check=2).stderr
    file.unlink()
    assert "cannot be read" in cli("db", "current", env=env, check=2).stderr


def test_no_password_is_shown(secured: Secured, cli: Cli) -> None:
    env = {"FLIGHTCTL_DATABASE_URL": secured.url("open"), "FLIGHTCTL_DATABASE_PASSWORD": PASSWORD}
    for arguments in ["config", "show"], ["config", "show", "-o", "json"], ["doctor"], ["flights", "list"]:
        told = cli(*arguments, env=env, check=None)
        assert PASSWORD not in told.stdout + told.stderr
        assert "p%40ss" not in told.stdout + told.stderr
    shown = {row["key"]: row["value"] for row in describe(load_settings(environ=env))}
    assert shown["database.password"] == "***"
