"""The daemon's two pages: ``/metrics`` for Prometheus, ``/healthz`` for whoever restarts or routes by it."""

import json
from collections.abc import Callable, Iterable
from socket import AF_INET6
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flightctl.core.errors import ValidationError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_JSON: Final = "application/json; charset=utf-8"

Health = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether all is well, and the document that says so."""
_Start = Callable[[str, list[tuple[str, str]]], Any]


class _Handler(WSGIRequestHandler):
    timeout = 10
    """Seconds for a client that connects and says nothing."""

    def log_message(self, *_: Any) -> None:
        """The daemon's log is of its work."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that went away in mid-answer is nobody's error."""

    def server_bind(self) -> None:
        """As HTTPServer's, without its look-up of the machine's name, which waits for a name server that is down."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = AF_INET6


def serve(address: str, port: int, registry: "CollectorRegistry", health: Health) -> None:
    """Answer in threads of their own. Raises ValidationError when the port is not to be had."""
    from prometheus_client import make_wsgi_app

    metrics = make_wsgi_app(registry)

    def pages(environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start)  # type: ignore[no-any-return]
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start, "405 Method Not Allowed", {"error": "GET only"})
        if path != "/healthz":
            return _answer(start, "404 Not Found", {"error": "there are /healthz and /metrics"})
        good, document = health()
        return _answer(start, "200 OK" if good else "503 Service Unavailable", document)

    kind = _Server6 if ":" in address else _Server
    try:
        server = make_server(address, port, pages, server_class=kind, handler_class=_Handler)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValidationError(
            f"--metrics-port {port} cannot be opened: {reason}",
            hint="Take a free port, and an address of this machine.",
        ) from error
    Thread(target=server.serve_forever, daemon=True).start()


def _answer(start: _Start, status: str, document: dict[str, Any]) -> list[bytes]:
    start(status, [("Content-Type", _JSON), ("Cache-Control", "no-store")])
    return [json.dumps(document).encode() + b"\n"]
