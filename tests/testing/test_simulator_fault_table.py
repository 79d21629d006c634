"""Every fault of the simulator at every endpoint of a language model, and which of them apply to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

import pytest

from llmcore_testing import Fault, Simulator
from llmcore_testing.simulator.faults import KINDS


class Endpoint(NamedTuple):
    path: str
    body: dict[str, Any] | None
    waits: str
    """The faults that this endpoint leaves for another one."""
    stream: bool = False


SAID: Final = [{"role": "user", "content": "one two three four"}]
MESSAGES: Final = {"model": "m", "max_tokens": 50, "messages": SAID}
BATCH: Final = {"requests": [{"custom_id": "a", "params": MESSAGES}]}
STREAMS: Final = "error_chunk bad_json_chunk batch "
USAGE: Final = "missing_usage negative_usage usage "
CHANGES: Final = f"{USAGE} no_choices no_finish_reason wrong_schema"
ENDPOINTS: Final = {
    "chat": Endpoint("/v1/chat/completions", {"model": "m", "messages": SAID}, STREAMS),
    "chat stream": Endpoint("/v1/chat/completions", {"model": "m", "messages": SAID}, "batch", stream=True),
    "azure stream": Endpoint("/openai/deployments/m/chat/completions?api-version=1", {"messages": SAID}, "batch", stream=True),
    "responses": Endpoint("/v1/responses", {"model": "m", "input": SAID}, STREAMS),
    "responses stream": Endpoint("/v1/responses", {"model": "m", "input": SAID}, "batch", stream=True),
    "messages": Endpoint("/v1/messages", MESSAGES, STREAMS),
    "messages stream": Endpoint("/v1/messages", MESSAGES, "batch", stream=True),
    "count_tokens": Endpoint("/v1/messages/count_tokens", MESSAGES, f"{STREAMS} no_choices no_finish_reason"),
    "message batches": Endpoint("/v1/messages/batches", BATCH, STREAMS.replace("batch ", "") + CHANGES),
    "batches": Endpoint("/v1/batches", None, STREAMS + CHANGES),
    "files": Endpoint("/v1/files", None, STREAMS + CHANGES),
    "embeddings": Endpoint("/v1/embeddings", {"model": "m", "input": "x", "dimensions": 4}, f"{STREAMS} no_finish_reason"),
    "speech": Endpoint("/v1/audio/speech", {"model": "m", "input": "Hello", "voice": "alloy"}, STREAMS + CHANGES),
    "models": Endpoint("/v1/models", None, STREAMS + CHANGES),
    "ollama": Endpoint("/api/show", {"model": "m"}, STREAMS + CHANGES),
}  # fmt: skip
FAULTS: Final = {
    "bad_json": Fault.bad_json(),
    "bad_json_chunk": Fault.bad_json_chunk(after=1),
    "batch": Fault.batch("validation_failed"),
    "big_body": Fault.big_body(0.2),
    "cut_stream": Fault.cut_stream(after=1),
    "empty_body": Fault.empty_body(),
    "error_chunk": Fault.error_chunk(after=1, message="It broke.", code="broken"),
    "hang": Fault.hang(),
    "html": Fault.html(),
    "missing_usage": Fault.missing_usage(),
    "negative_usage": Fault.negative_usage(),
    "no_choices": Fault.no_choices(),
    "no_finish_reason": Fault.no_finish_reason(),
    "redirect": Fault.redirect("http://elsewhere.test/v1"),
    "reset": Fault.reset(),
    "slow": Fault.slow(0.01),
    "stall": Fault.stall(after=1),
    "status": Fault.status(503),
    "trickle": Fault.trickle(),
    "usage": Fault.usage(prompt_tokens=7, input_tokens=7),
    "wrong_schema": Fault.wrong_schema(),
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    is_cut: bool

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def find(self, name: str) -> list[Any]:
        """Return the values of every field *name* of the documents in the body."""
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line[:6] != "event:"]
        return [value for line in lines if line[:1] == "{" for value in find(json.loads(line), name)]


def find(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == name)
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from find(each, name)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(reports_usage=True) as simulator:
        yield simulator


@contextmanager
def ask(upstream: Simulator, endpoint: Endpoint) -> Iterator[http.client.HTTPConnection]:
    headers = {"authorization": "Bearer k"}
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"), timeout=60)) as connection:
        if endpoint.body is None:
            connection.request("GET", endpoint.path, headers=headers)
        else:
            body = {**endpoint.body, "stream": True} if endpoint.stream else endpoint.body
            connection.request("POST", endpoint.path, json.dumps(body), headers)
        yield connection


def read(upstream: Simulator, endpoint: Endpoint) -> Answer:
    with ask(upstream, endpoint) as connection, connection.getresponse() as response:
        try:
            body, is_cut = response.read(), False
        except http.client.IncompleteRead as error:
            body, is_cut = error.partial, True
        return Answer(response.status, dict(response.headers), body, is_cut)


def has_big_text(got: Answer) -> bool:
    return "x" * 1000 in got.text and len(got.body) > 200_000


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


CHECKS: Final[dict[str, Callable[[Answer, Answer], bool]]] = {
    "bad_json": lambda got, _: got.status == 200 and not is_json(got.text),
    "bad_json_chunk": lambda got, usual: len(got.body) > len(usual.body) and '"choi\n' in got.text,
    "batch": lambda got, _: got.status == 400,
    "big_body": lambda got, _: has_big_text(got),
    "cut_stream": lambda got, usual: not got.body or (len(got.body) < len(usual.body) and usual.text[:5] == got.text[:5]) or got.is_cut,
    "empty_body": lambda got, _: (got.status, got.body) == (200, b""),
    "error_chunk": lambda got, usual: "It broke." in got.find("message") and len(got.body) < len(usual.body),
    "html": lambda got, _: got.text.startswith("<!doctype html>"),
    "missing_usage": lambda got, _: not [each for each in got.find("usage") if each] and not got.find("input_tokens"),
    "negative_usage": lambda got, _: -1000 in got.find("prompt_tokens") + got.find("input_tokens"),
    "no_choices": lambda got, _: any([] in got.find(name) for name in ("choices", "output", "content", "data")),
    "no_finish_reason": lambda got, _: not {"stop", "end_turn"} & set(map(str, got.find("finish_reason") + got.find("stop_reason"))),
    "redirect": lambda got, _: (got.status, got.headers["location"]) == (307, "http://elsewhere.test/v1"),
    "slow": lambda got, usual: len(got.find("id")) == len(usual.find("id")) and not got.is_cut,
    "status": lambda got, _: got.status == 503,
    "usage": lambda got, _: 7 in got.find("prompt_tokens") + got.find("input_tokens"),
    "wrong_schema": lambda got, _: "simulated.surprise" in got.find("object"),
}  # fmt: skip


def test_the_table_has_every_fault() -> None:
    assert set(FAULTS) == set(KINDS)
    assert set(CHECKS) | {"hang", "reset", "stall", "trickle"} == set(KINDS)


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("kind", CHECKS)
def test_an_answer_has_the_fault_or_leaves_it_to_another_endpoint(
    upstream: Simulator, kind: str, name: str
) -> None:
    endpoint = ENDPOINTS[name]
    usual = read(upstream, endpoint)
    assert usual.status == 200, usual.text
    upstream.fail(FAULTS[kind])
    got = read(upstream, endpoint)
    applies = kind not in endpoint.waits.split()
    assert upstream.counts["faults"] == (1 if applies else 0)
    if applies:
        assert CHECKS[kind](got, usual), got
        assert read(upstream, endpoint).status == 200
    else:
        assert (got.status, len(got.body), got.is_cut) == (200, len(usual.body), False)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_connection_is_reset(upstream: Simulator, name: str) -> None:
    upstream.fail(FAULTS["reset"])
    with ask(upstream, ENDPOINTS[name]) as connection, pytest.raises(ConnectionError):
        connection.getresponse()


@pytest.mark.parametrize("kind", ["hang", "stall", "trickle"])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_answer_that_does_not_end_waits_for_the_client(upstream: Simulator, name: str, kind: str) -> None:
    upstream.fail(FAULTS[kind])
    with ask(upstream, ENDPOINTS[name]) as connection:
        upstream.wait_for_requests(1, 60)
        if kind != "hang":
            with connection.getresponse() as response:
                assert response.read(1)
        assert upstream.in_flight == 1
    assert upstream.wait_for(lambda: upstream.in_flight == 0, 60)
    assert upstream.counts["gone"] == 1


def test_errors_within_a_stream_have_the_shape_of_their_api(upstream: Simulator) -> None:
    ends = {}
    for name in ("chat stream", "responses stream", "messages stream"):
        upstream.fail(FAULTS["error_chunk"])
        ends[name] = json.loads(read(upstream, ENDPOINTS[name]).text.split("data: ")[-1])
    error = {"message": "It broke.", "type": "server_error", "param": None, "code": "broken"}
    assert ends["chat stream"] == {"error": error}
    assert ends["messages stream"] == {"type": "error", "error": {"type": "broken", "message": "It broke."}}
    event = ends["responses stream"]
    assert (event["type"], event["code"], event["message"]) == ("error", "broken", "It broke.")


@pytest.mark.parametrize("name", ["responses", "responses stream", "messages", "messages stream"])
def test_a_big_answer_has_the_shape_of_its_api(upstream: Simulator, name: str) -> None:
    upstream.fail(FAULTS["big_body"])
    got = read(upstream, ENDPOINTS[name])
    if name.startswith("responses"):
        (text,) = got.find("output")[-1][0]["content"]
        assert text["text"] == "x" * 200_000
        deltas = got.find("delta")
        assert "".join(deltas) == ("x" * 200_000 if "stream" in name else "")
    else:
        texts = [each for each in got.find("text") if each]
        assert "".join(texts) == "x" * 200_000
