"""The server engine against a local HTTP server of a few lines: what it sends, what it makes of answers, and that it never hangs."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.errors import ServiceError, SettingsError
from components.generation.engine_requests import EngineAnswer, sampling_requests
from components.generation.http_calls import JsonServer
from components.generation.sampler import SamplingOptions
from components.generation.server_engine import ServerEngine, parsed_answers, parsed_scores

OPTIONS = SamplingOptions(max_new_tokens=3, samples=2, temperature=0.5, seed=1)


class FakeServer:
    """Answers every POST by `answer(path, content)`: a value for JSON, bytes as they are, or (status, value)."""

    def __init__(self, answer):
        self.seen = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.seen.append((self.path, content, dict(self.headers)))
                value = answer(self.path, content)
                status, value = value if isinstance(value, tuple) else (200, value)
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def served():
    servers = []

    def make(answer, *, seconds=5.0):
        servers.append(FakeServer(answer))
        return servers[-1], ServerEngine(JsonServer(servers[-1].url, key="k"), call_seconds=seconds)

    yield make
    for server in servers:
        server.close()


def _choice(index, ids, *, reason="stop"):
    return {"index": index, "token_ids": ids, "logprobs": {"token_logprobs": [-0.5] * len(ids)}, "finish_reason": reason}


def test_every_prompt_is_one_request_with_its_own_seed_and_answers_come_in_order(served):
    def answer(path, content):
        time.sleep(0.05 if content["prompt"] == [4] else 0.0)  # the first prompt's answer comes last
        return {"choices": [_choice(1, content["prompt"] * 2, reason="length"), _choice(0, content["prompt"])]}

    server, engine = served(answer)
    prompts = [[4], [5, 6], [7]]
    requests = sampling_requests(prompts, OPTIONS, stops=(1,))
    drawn = engine.draw(prompts, requests)
    assert drawn[1] == [EngineAnswer((5, 6), (-0.5, -0.5), "stop"), EngineAnswer((5, 6, 5, 6), (-0.5,) * 4, "length")]
    assert [group[0].ids for group in drawn] == [(4,), (5, 6), (7,)]
    sent = {tuple(content["prompt"]): content for _, content, _ in server.seen}
    assert {path for path, _, _ in server.seen} == {"/v1/completions"}
    assert [sent[tuple(prompt)]["seed"] for prompt in prompts] == [request["seed"] for request in requests]
    assert all(content["return_token_ids"] and not content["add_special_tokens"] and content["n"] == 2 for content in sent.values())
    assert server.seen[0][2]["Authorization"] == "Bearer k"


def test_workers_are_called_by_name_and_prompts_forgotten_by_the_control_calls(served):
    server, engine = served(lambda path, content: {"results": [None], "success": True})
    engine.call_workers("reload_weights", {"weights_path": "/weights/1"})
    engine.forget_prompts()
    assert [(path, content.get("method"), content.get("kwargs")) for path, content, _ in server.seen] == [
        ("/collective_rpc", "reload_weights", {"weights_path": "/weights/1"}),
        ("/reset_prefix_cache", None, None),
    ]


def test_sleep_drops_everything_and_each_part_is_woken_by_its_name(served):
    server, engine = served(lambda path, content: {"status": "awake"})
    engine.sleep()
    engine.wake("weights")
    engine.wake("kv_cache")
    assert [path for path, _, _ in server.seen] == ["/sleep?level=2", "/wake_up?tags=weights", "/wake_up?tags=kv_cache"]


def test_a_prefix_cache_that_was_not_reset_is_an_error(served):
    _, engine = served(lambda path, content: {"success": False})
    with pytest.raises(ServiceError, match="prefix cache could not be reset"):
        engine.forget_prompts()


def test_scores_are_those_of_the_sequences_own_tokens(served):
    chosen = [None, {"8": {"logprob": -1.5}, "3": {"logprob": -0.1}}, {"9": {"logprob": -2.5}}]
    server, engine = served(lambda path, content: {"choices": [{"prompt_logprobs": chosen}]})
    assert engine.score([[7, 8, 9]]) == [[-1.5, -2.5]]
    assert server.seen[0][1]["prompt_logprobs"] == 0
    with pytest.raises(ServiceError, match="without the log-probability"):
        parsed_scores({"choices": [{"prompt_logprobs": chosen}]}, [7, 5, 9])


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 0, "text": "a", "finish_reason": "stop"},  # no ids: another server, or an older one
        {"index": 0, "token_ids": [1, 2], "logprobs": {"token_logprobs": [-1.0]}, "finish_reason": "stop"},
        {"index": 0, "token_ids": [1], "logprobs": {"token_logprobs": [None]}, "finish_reason": "stop"},
        {"index": 0, "token_ids": [1], "logprobs": {"token_logprobs": [-1.0]}, "finish_reason": "abort"},
    ],
)
def test_a_response_that_is_no_sample_is_refused(choice):
    with pytest.raises(ServiceError):
        parsed_answers({"choices": [choice]})


def test_a_server_that_does_not_answer_in_time_is_an_error_and_not_a_wait(served):
    release = threading.Event()
    _, engine = served(lambda path, content: release.wait(10) or {}, seconds=0.2)
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"no answer within 0\.2 s"):
        engine.draw([[1], [2]], sampling_requests([[1], [2]], OPTIONS, stops=()))
    assert time.monotonic() - start < 3
    release.set()


def test_a_server_that_trickles_is_cut_at_the_time_limit():
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle():
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            try:
                connection.sendall(b" ")
            except OSError:
                return
            time.sleep(0.05)

    threading.Thread(target=trickle, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(ServiceError, match="no answer within"):
        JsonServer(f"http://127.0.0.1:{listener.getsockname()[1]}").post("/x", {}, seconds=0.3)
    assert time.monotonic() - start < 2
    listener.close()


def test_a_server_that_is_gone_is_an_error(served):
    server, engine = served(lambda path, content: {})
    server.close()
    with pytest.raises(ServiceError, match="does not answer"):
        engine.score([[1, 2]])
    assert not engine.server.is_healthy(seconds=1)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ((500, {"error": {"message": "EngineCore died"}}), "status 500: EngineCore died"),
        ((404, b"<html>"), "status 404: 6 bytes without a message"),
        (b"<html>", "not JSON"),
    ],
)
def test_what_a_server_says_is_in_the_error(served, answer, word):
    _, engine = served(lambda path, content: answer)
    with pytest.raises(ServiceError, match=word):
        engine.score([[1, 2]])


@pytest.mark.parametrize("url", ["http://10.0.0.4:8000", "https://127.0.0.1:8000", "127.0.0.1:8000", "http://127.0.0.1"])
def test_only_a_loopback_address_is_taken(url):
    with pytest.raises(SettingsError, match="loopback"):
        JsonServer(url)
