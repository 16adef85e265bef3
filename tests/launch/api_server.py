"""A Kubernetes API server for tests, of plain HTTP threads: jobs, JobSets, services, pods, logs, watches and questions of rights.

It keeps what it is given, answers as the real one does where our launcher looks, and injects what goes wrong on the way:
an outage (the port refuses), answers of 500, watches and logs cut in the middle, calls whose answer is lost, missing rights.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local_jobsets import LocalJobSets
from local_pods import LocalPods

Object = dict[str, Any]
JOBS, SERVICES, PODS = "/apis/batch/v1/namespaces/n/jobs", "/api/v1/namespaces/n/services", "/api/v1/namespaces/n/pods"
JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/n/jobsets"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: "ApiServer"


class ApiServer:
    """The server, and what is to go wrong next."""

    def __init__(self, volume: Path, *, gpus: int = 8) -> None:
        self.pods = LocalPods(volume, gpus=gpus)
        self.services: dict[str, Object] = {}
        self.jobsets = LocalJobSets(self.pods, self.services)
        self.calls: list[str] = []  # "METHOD path"
        self.answers_500 = self.lost_answers = self.cut_watches = self.cut_logs = 0  # how many of the next
        self.is_down = False
        self.denied: set[tuple[str, str]] = set()  # (verb, resource)
        self._http: _Server | None = None
        self._port = 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def held(self, collection: str) -> dict[str, Object]:
        """Return what there is of a collection, by name."""
        if collection == PODS:
            return {pod.object["metadata"]["name"]: pod.object for pods in self.pods.pods.values() for pod in pods}
        return {JOBS: self.pods.jobs, JOBSETS: self.jobsets.jobsets, SERVICES: self.services}[collection]

    def start(self) -> None:
        self.is_down = False
        self._http = _Server(("127.0.0.1", self._port), _Handler)
        self._http.owner = self
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def shut(self) -> None:
        assert self._http is not None
        self.is_down = True  # for connections that stand
        self._http.shutdown()
        self._http.server_close()

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """The port refuses connections meanwhile; jobs go on."""
        self.shut()
        yield
        self.start()

    def stop(self) -> None:
        self.shut()
        self.pods.stop()

    def only_job(self, seconds: float = 20.0) -> str:
        """Wait until a job's pods run, and return its name."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.pods.changed:
                for name, pods in self.pods.pods.items():
                    if all(pod.status["phase"] == "Running" and pod.lines for pod in pods):
                        return name
            time.sleep(0.01)
        raise AssertionError(f"no job runs: {list(self.pods.jobs)}, {list(self.jobsets.jobsets)}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        api, address = self.server.owner, urlsplit(self.path)
        if api.is_down:
            self.close_connection = True
            return None
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        api.calls.append(f"{self.command} {address.path}")
        if api.answers_500 > 0:
            api.answers_500 -= 1
            return self._status(503, "the server is currently unable to handle the request")
        if "watch" in query:
            return self._watch(address.path, query)
        if address.path.endswith("/log"):
            return self._log(address.path.split("/")[-2], query)
        with api.pods.changed:
            code, answer = self._answer(api, address.path, query, body)
        if api.lost_answers > 0:
            api.lost_answers -= 1
            self.close_connection = True
            return None
        return self._status(code, answer) if isinstance(answer, str) else self._json(code, answer)

    def _answer(self, api: ApiServer, path: str, query: dict[str, str], body: Object) -> tuple[int, Object | str]:
        if path == REVIEWS:
            asked = body["spec"]["resourceAttributes"]
            resource = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
            return 201, {"status": {"allowed": (asked["verb"], resource) not in api.denied}}
        collection, name = next(((kind, path.removeprefix(kind).strip("/")) for kind in (JOBS, JOBSETS, SERVICES, PODS) if path.startswith(kind)), ("", ""))
        if not collection or (collection == JOBSETS and not api.jobsets.is_installed):
            return 404, "the server could not find the requested resource"
        verb = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}[self.command]
        if (verb, collection.rpartition("/")[2]) in api.denied:
            return 403, f"{collection.rpartition('/')[2]} is forbidden: User cannot {verb}"
        held, controller = api.held(collection), {JOBS: api.pods, JOBSETS: api.jobsets}.get(collection)
        if self.command == "POST":
            if body["metadata"]["name"] in held:
                return 409, f'{collection.rpartition("/")[2]} "{body["metadata"]["name"]}" already exists'
            controller.add(body) if controller else held.update({body["metadata"]["name"]: body})
            return 201, body
        if not name:
            return 200, {"items": [item for item in held.values() if _fits(item, query.get("labelSelector", ""))]}
        if name not in held:
            return 404, f'"{name}" not found'
        if self.command == "DELETE":
            if controller:
                controller.delete(name)
                if collection == JOBS:
                    api.services.pop(name, None)  # its owner's end
            else:
                held.pop(name)
            return 200, {"status": "Success"}
        return 200, held[name]

    def _watch(self, collection: str, query: dict[str, str]) -> None:
        api, name = self.server.owner, query["fieldSelector"].partition("=")[2]
        self._begin_stream()
        if api.cut_watches > 0:
            api.cut_watches -= 1
            self.close_connection = True
            return
        deadline, since = time.monotonic() + float(query["timeoutSeconds"]), int(query["resourceVersion"] or 0)
        with api.pods.changed:
            while time.monotonic() < deadline:
                job = api.held(collection).get(name)
                if job is None or int(job["metadata"]["resourceVersion"]) > since:
                    self._chunk(json.dumps({"type": "MODIFIED" if job else "DELETED", "object": job or {}}).encode() + b"\n")
                    break
                api.pods.changed.wait(max(0.0, deadline - time.monotonic()))
        self._chunk(b"")

    def _log(self, name: str, query: dict[str, str]) -> None:
        api = self.server.owner
        pod = next((pod for pods in api.pods.pods.values() for pod in pods if pod.object["metadata"]["name"] == name), None)
        if pod is None:
            return self._status(404, f'pods "{name}" not found')
        self._begin_stream()
        sent = 0
        while True:
            with api.pods.changed:
                fresh, has_ended = pod.lines[sent:], pod.has_ended
            for moment, text in fresh:
                sent += 1
                if moment[:19] >= query.get("sinceTime", "")[:19]:
                    self._chunk(f"{moment} {text}\n".encode())
                    if api.cut_logs > 0:
                        api.cut_logs -= 1
                        self.close_connection = True
                        return None
            if has_ended or query["follow"] == "false":
                return self._chunk(b"")
            time.sleep(0.02)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

    def _status(self, code: int, message: str) -> None:
        self._json(code, {"kind": "Status", "status": "Failure", "code": code, "message": message})

    def _json(self, code: int, value: Object) -> None:
        data = json.dumps(value).encode()
        with contextlib.suppress(OSError):
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


def _fits(item: Object, selector: str) -> bool:
    labels = item["metadata"].get("labels", {})
    for term in filter(None, selector.split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
