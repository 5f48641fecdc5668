"""TLS to Redis by a private CA, and passwords that nobody sees."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flightctl.core.cache import Cache
from flightctl.core.settings import load_settings
from tests.conftest import Cli, _private
from tests.faults import LOOPBACK
from tests.servers import Redis

SECRET = "s3cr3t"


class Authority:
    """A private CA; every certificate and its key in one file of PEM."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        folder.mkdir()
        self.file = self._write("ca", self._name, self._key, ca=True)

    def issue(self, name: str, *names: x509.GeneralName) -> Path:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, subject, ec.generate_private_key(ec.SECP256R1()), *names)

    def _write(
        self, name: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *names: x509.GeneralName, ca: bool = False
    ) -> Path:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        file = self._folder / f"{name}.pem"
        file.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return file


class TlsRedis(Redis):
    """Speaks nothing but TLS, to clients with a certificate of the CA who know the password."""

    def __init__(self, folder: Path, authority: Authority, certificate: Path) -> None:
        super().__init__(folder, "--tls-auth-clients", "yes", "--requirepass", SECRET)
        self.authority, self.certificate = authority, certificate

    def client(self) -> redis.Redis:
        own = {"ssl_certfile": self.certificate, "ssl_keyfile": self.certificate, "ssl_ca_certs": self.authority.file}
        return redis.Redis(LOOPBACK, self.port, password=SECRET, ssl=True, ssl_check_hostname=False, **own)

    def _command(self) -> list[str]:
        program, _, port, *rest = super()._command()
        files = ["--tls-cert-file", self.certificate, "--tls-key-file", self.certificate]
        files += ["--tls-ca-cert-file", self.authority.file]
        return [program, "--port", "0", "--tls-port", port, *rest, *map(str, files)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Redis]:
    address = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
    certificate = authority.issue("server", address)
    yield from _private(lambda: TlsRedis(tmp_path_factory.mktemp("redis"), authority, certificate))


@pytest.fixture
def variables(server: Redis, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """All that it takes."""
    password = tmp_path / "password"
    password.write_text(SECRET + "\n")
    return {
        "FLIGHTCTL_REDIS_URL": f"rediss://{LOOPBACK}:{server.port}/0",
        "FLIGHTCTL_REDIS_PASSWORD_FILE": str(password),
        "FLIGHTCTL_REDIS_TLS_CA": str(authority.file),
        "FLIGHTCTL_REDIS_TLS_CERT": str(authority.issue("client")),
    }


def _usable(variables: dict[str, str]) -> tuple[bool, str]:
    warnings: list[str] = []
    cache = Cache(load_settings(environ=variables), warnings.append)
    usable = cache.ping()
    cache.close()
    assert SECRET not in "".join(warnings)
    return usable, "".join(warnings)


def test_with_everything_in_place_it_works(variables: dict[str, str]) -> None:
    assert _usable(variables) == (True, "")
    assert _usable({**variables, "FLIGHTCTL_REDIS_PASSWORD": SECRET, "FLIGHTCTL_REDIS_PASSWORD_FILE": ""})[0]


def test_a_server_that_another_ca_vouches_for_is_not_trusted(variables: dict[str, str], tmp_path: Path) -> None:
    other = Authority(tmp_path / "theirs")
    usable, warning = _usable({**variables, "FLIGHTCTL_REDIS_TLS_CA": str(other.file)})
    assert not usable
    assert "its certificate is not trusted" in warning
    usable, _ = _usable({**variables, "FLIGHTCTL_REDIS_TLS_CA": ""})
    assert not usable, "the system's CAs do not vouch for it either"
    assert _usable({**variables, "FLIGHTCTL_REDIS_TLS_CA": "", "FLIGHTCTL_REDIS_TLS_VERIFY": "none"})[0]


def test_the_host_must_be_the_one_that_the_certificate_names(variables: dict[str, str]) -> None:
    elsewhere = {**variables, "FLIGHTCTL_REDIS_URL": variables["FLIGHTCTL_REDIS_URL"].replace(LOOPBACK, "localhost")}
    usable, warning = _usable(elsewhere)
    assert not usable
    assert "its certificate is not trusted" in warning
    assert _usable({**elsewhere, "FLIGHTCTL_REDIS_TLS_VERIFY": "ca"})[0]


@pytest.mark.parametrize(
    "without",
    [
        lambda own: {**own, "FLIGHTCTL_REDIS_TLS_CERT": ""},
        lambda own: {**own, "FLIGHTCTL_REDIS_PASSWORD_FILE": ""},
        lambda own: {**own, "FLIGHTCTL_REDIS_PASSWORD": "wrong"},
        lambda own: {**own, "FLIGHTCTL_REDIS_URL": own["FLIGHTCTL_REDIS_URL"].replace("rediss", "redis")},
    ],
    ids=["certificate", "password", "right password", "TLS"],
)
def test_what_the_server_asks_for_is_missing(
    variables: dict[str, str], without: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    usable, warning = _usable(without(variables))
    assert not usable
    assert warning.startswith("Redis is not usable (")


def test_no_command_shows_the_password(cli: Cli, variables: dict[str, str], sqlite_url: str) -> None:
    variables = {**variables, "FLIGHTCTL_DATABASE_URL": sqlite_url, "FLIGHTCTL_REDIS_PASSWORD": SECRET}
    for args in (["config", "show"], ["doctor", "-o", "json"], ["search", "DEL", "BLR", "--date", "tomorrow"]):
        for changed in variables, {**variables, "FLIGHTCTL_REDIS_TLS_CA": ""}:
            result = cli(*args, env=changed)
            assert SECRET not in result.stdout + result.stderr
    result = cli("doctor", env={**variables, "FLIGHTCTL_REDIS_TLS_CA": "/nosuch/ca.pem"}, check=None)
    assert "/nosuch/ca.pem" in result.stdout + result.stderr
