"""JSON calls to a server on this machine, each within a time limit, and every way they fail as one clear error."""

import http.client
import json
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from components.errors import ServiceError, SettingsError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PART = 1 << 16  # bytes read between two looks at the clock


class JsonServer:
    """The address of a server and its key."""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        """Take an address.

        Raises:
            SettingsError: it is not plain http on loopback: the server's control calls have no key of their own.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK or parts.port is None:
            raise SettingsError(f"vllm.url: {url!r}: expected http://127.0.0.1:<port>; run the server on this machine, on loopback")
        self.url, self.host, self.port = url.rstrip("/"), parts.hostname, parts.port
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def post(self, path: str, content: Any, *, seconds: float) -> Any:
        """Send JSON and return the JSON answer (None where it is empty).

        Raises:
            ServiceError: no connection, no whole answer within `seconds`, a status other than 200, or no JSON.
        """
        return self._call("POST", path, json.dumps(content), seconds)

    def is_healthy(self, *, seconds: float = 5.0) -> bool:
        """Say whether the server answers on /health."""
        try:
            self._call("GET", "/health", None, seconds)
        except ServiceError:
            return False
        return True

    def _call(self, method: str, path: str, body: str | None, seconds: float) -> Any:
        end = monotonic() + seconds
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        try:
            connection.request(method, path, body=body, headers=self._headers)
            response = connection.getresponse()
            content = _read_until(response, connection, end)
        except TimeoutError:
            raise ServiceError(
                f"{self.url}{path}: no answer within {seconds:g} s; raise vllm.call_seconds if the work is that large, else look at the server's log"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(f"{self.url}{path}: the server does not answer ({type(error).__name__}: {str(error)[:200]}); see its log") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ServiceError(f"{self.url}{path}: status {response.status}: {_message(content)}")
        if not content:
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise ServiceError(f"{self.url}{path}: the answer is not JSON; is it a vLLM server that listens there?") from None


def _read_until(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, end: float) -> bytes:
    """Read the whole body; TimeoutError where it is not there by `end`, however steadily it trickles."""
    parts = []
    while True:
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
        part = response.read1(PART)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _message(content: bytes) -> str:
    """Return a server's own word on an error, cut: the rest may quote what was asked."""
    try:
        values = json.loads(content)
        return str((values.get("error") or values)["message"])[:200]
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{len(content)} bytes without a message; see its log"
