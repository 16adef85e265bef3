"""The few calls to a Kubernetes API server that jobs need: create, get, list, delete, one watch, a pod's log, a question of rights.

Plain HTTP by requests, in the thread that calls (docs/decisions/002-dependencies.md says why no client library). Inside a cluster the pod's own account is used, its token read anew at each call, as it is replaced every
hour; elsewhere an address that asks for none, such as `kubectl proxy`.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from components.errors import InfrastructureError, ServiceError, UserError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
CALL_SECONDS = 20.0
STREAM_SECONDS = 60.0  # without a byte; then a stream counts as lost
LATER = (408, 425, 429)  # of the codes below 500, those that another try may mend
Object = dict[str, Any]


class ApiUnreachable(InfrastructureError):
    """No answer, or one that says to come back: a refused connection, a time-out, a code of 500 or more, 429."""


class ApiRefused(UserError):
    """An answer below 500 that refuses the call."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubernetesApi:
    """One API server."""

    def __init__(self, address: str, *, account: Path | None = None) -> None:
        """Args: account: the folder with `token` and `ca.crt`; None: no token, and what the system trusts."""
        self.address = address.rstrip("/")
        self._account = account
        self._session = self._new_session()

    def get(self, path: str, **query: str) -> Object:
        """Return an object or a list."""
        return self._call("GET", path, query=query)

    def create(self, path: str, manifest: Object) -> Object:
        """Create an object and return it.

        Raises:
            ApiRefused: 409 where the name is taken.
        """
        return self._call("POST", path, body=manifest)

    def create_or_get(self, path: str, manifest: Object) -> tuple[Object, bool]:
        """Create an object, or get the one that has its name; return it, and whether it was made by this call."""
        try:
            return self.create(path, manifest), True
        except ApiRefused as error:
            if error.status != 409:
                raise
            return self.get(f"{path}/{manifest['metadata']['name']}"), False

    def delete(self, path: str) -> None:
        """Ask for an object's end, its dependants first; one that is gone already is no error."""
        with contextlib.suppress(_Gone):
            self._call("DELETE", path, body={"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"})

    def find(self, path: str) -> Object | None:
        """Return an object, or None where there is none of that name."""
        try:
            return self.get(path)
        except _Gone:
            return None

    def wait_for_change(self, path: str, *, name: str, version: str, seconds: float) -> bool:
        """Watch a collection for one object's next change; return whether there was one within the time.

        Raises:
            ApiUnreachable: the watch was lost.
        """
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version, "timeoutSeconds": str(max(1, round(seconds)))}
        return any(True for line in self._lines(path, query, seconds=seconds + 5) if line.strip())

    def log_lines(self, path: str, **query: str) -> Iterator[bytes]:
        """Yield a pod's log line by line.

        Raises:
            ApiUnreachable: the stream was lost.
        """
        yield from self._lines(f"{path}/log", query, seconds=STREAM_SECONDS)

    def may(self, verb: str, resource: str, *, group: str, namespace: str, part: str = "") -> bool:
        """Ask whether this account may do something in a namespace."""
        asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": part}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        answer = self.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer.get("status", {}).get("allowed"))

    def _call(self, method: str, path: str, *, query: dict[str, str] | None = None, body: Object | None = None) -> Object:
        with self._told_apart(path):
            answer = self._session.request(method, self.address + path, params=query, json=body, headers=self._headers(), timeout=CALL_SECONDS)
            self._check(answer, path)
            value: Object = answer.json()
            return value

    def _lines(self, path: str, query: dict[str, str], *, seconds: float) -> Iterator[bytes]:
        """Yield the lines of a stream, by a connection of its own: a stream may be read in a thread of its own."""
        with self._told_apart(path), self._new_session() as session:
            answer = session.get(self.address + path, params=query, headers=self._headers(), stream=True, timeout=(CALL_SECONDS, seconds))
            with answer:
                self._check(answer, path)
                yield from answer.iter_lines(chunk_size=None)

    @contextlib.contextmanager
    def _told_apart(self, path: str) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, json.JSONDecodeError) as error:
            raise ApiUnreachable(f"{self.address}{path}: no answer ({type(error).__name__})") from error

    def _check(self, answer: requests.Response, path: str) -> None:
        if answer.ok:
            return
        said = _message(answer)
        if answer.status_code >= 500 or answer.status_code in LATER:
            raise ApiUnreachable(f"{self.address}{path}: {answer.status_code} {said}")
        if answer.status_code in (401, 403):
            raise UserError(f"{self.address}{path}: {answer.status_code} {said}; give this account the rights of infra/kubernetes/base/worker-rights.yaml (`quarkmed doctor` names the missing ones)")
        raise (_Gone if answer.status_code == 404 else ApiRefused)(answer.status_code, f"{self.address}{path}: {answer.status_code} {said}")

    def _headers(self) -> dict[str, str]:
        if self._account is None:
            return {}
        return {"Authorization": f"Bearer {(self._account / 'token').read_text(encoding='utf-8').strip()}"}

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # no proxy, no netrc: the token goes to this server alone
        if self._account is not None:
            session.verify = str(self._account / "ca.crt")
        return session


class _Gone(ApiRefused):
    """404."""


def open_api(address: str) -> KubernetesApi:
    """Return the API server of an address, or of the cluster this process is a pod of where it is empty.

    Raises:
        ServiceError: no address, and no pod's account here.
    """
    if address:
        return KubernetesApi(address)
    host, port = os.environ.get(HOST), os.environ.get(PORT)
    if not host or not port or not (ACCOUNT / "token").is_file():
        raise ServiceError("launch.cluster.address is empty, and this process is in no pod of a cluster; run `kubectl proxy` and set it to http://127.0.0.1:8001, or run in the worker's pod")
    return KubernetesApi(f"https://{f'[{host}]' if ':' in host else host}:{port}", account=ACCOUNT)


def _message(answer: requests.Response) -> str:
    with contextlib.suppress(ValueError):
        value = answer.json()
        if isinstance(value, dict) and "message" in value:
            return str(value["message"])[:500]
    return answer.reason or "no reason given"
