"""A proxy that stands between a client and the object store and does to requests what networks and servers do."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

import pytest

BUSY = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
TAKEN = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>PreconditionFailed</Code><Message>At least one condition did not hold.</Message></Error>'


class FaultProxy:
    """Hands requests on; `fault(method, path)` names what happens to one: None, drop, busy, truncate, shorten, corrupt or slow.

    drop: no answer; busy: 503; truncate: half of the body, then silence; shorten: half of the body, announced as all of it;
    corrupt: another first byte; slow: late. With `is_conditional` it honours If-None-Match. `seen` are (method, path) pairs.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlparse(upstream).netloc
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.is_conditional = False
        self.seen: list[tuple[str, str]] = []
        self.slow_seconds = 0.1
        self._written: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def fail_times(self, fault: str, times: int, *, method: str = "GET", part: str = "") -> None:
        """Let the next requests of a method whose path holds `part` meet a fault, `times` of them."""
        left = [times]

        def choose(asked: str, path: str) -> str | None:
            if asked == method and part in path and left[0] > 0:
                left[0] -= 1
                return fault
            return None

        self.fault = choose

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests of a method had `part` in their path."""
        return sum(asked == method and part in path for asked, path in self.seen)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = unquote(self.path)
                fault = proxy.fault(self.command, path)
                proxy.seen.append((self.command, path))
                if fault == "slow":
                    time.sleep(proxy.slow_seconds)
                if fault == "drop":
                    self.close_connection = True
                    self.connection.close()
                elif fault == "busy":
                    self.reply(503, [("Content-Type", "application/xml")], BUSY, len(BUSY))
                elif proxy.is_conditional and self.headers.get("If-None-Match") == "*" and path in proxy._written:
                    self.reply(412, [("Content-Type", "application/xml")], TAKEN, len(TAKEN))
                else:
                    self.hand_on(body, fault)
                    (proxy._written.discard if self.command == "DELETE" else proxy._written.add)(path)

            def hand_on(self, body: bytes, fault: str | None) -> None:
                upstream = http.client.HTTPConnection(proxy.upstream, timeout=30)
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("expect", "connection"):
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                content = answer.read()
                length = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(content)
                if content and fault == "corrupt":
                    content = bytes([content[0] ^ 1]) + content[1:]
                if content and fault in ("truncate", "shorten"):
                    content = content[: len(content) // 2]
                    length = len(content) if fault == "shorten" else length
                    self.close_connection = True
                self.reply(answer.status, answer.getheaders(), content, length)
                upstream.close()

            def reply(self, status: int, headers: list[tuple[str, str]], content: bytes, length: int) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def proxy(s3_server) -> Iterator[FaultProxy]:
    """Yield a proxy before the object store."""
    made = FaultProxy(s3_server.address)
    yield made
    made.close()
