"""Each fault of the simulator, seen from a plain connection."""

from __future__ import annotations

import http.client
import json
import math
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from llmcore.errors import ConfigError
from llmcore_testing import Fault, Simulator
from llmcore_testing.simulator.faults import KINDS


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@contextmanager
def ask(
    upstream: Simulator, *, stream: bool = False, model: str = "m"
) -> Iterator[http.client.HTTPConnection]:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "one two three four"}]}
    with closing(http.client.HTTPConnection(upstream.url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": "Bearer k"})
        yield connection


def answer(
    upstream: Simulator, *, stream: bool = False, model: str = "m"
) -> tuple[int, dict[str, str], bytes]:
    with ask(upstream, stream=stream, model=model) as connection, connection.getresponse() as response:
        return response.status, dict(response.headers), response.read()


def parse_events(raw: bytes) -> list[str]:
    return [line.removeprefix("data: ") for line in raw.decode().split("\n\n") if line]


@pytest.mark.parametrize("retry_after", [1, 0.5, "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
def test_a_status_strikes_so_often_and_then_no_more(upstream: Simulator, retry_after: float | str) -> None:
    upstream.fail(Fault.status(429, retry_after=retry_after), times=2)
    seen = [answer(upstream) for _ in range(3)]
    assert [status for status, _, _ in seen] == [429, 429, 200]
    assert seen[0][1]["retry-after"] == str(retry_after)
    assert json.loads(seen[0][2])["error"]["code"] == "rate_limit_exceeded"
    assert "retry-after" not in seen[2][1]
    assert upstream.counts["status_429"] == 2
    assert upstream.counts["chat"] == 1
    assert upstream.counts["faults"] == 2


def test_a_status_takes_a_code_a_message_headers_or_a_whole_body(upstream: Simulator) -> None:
    upstream.fail(Fault.status(429, code="insufficient_quota"))
    upstream.fail(Fault.status(503, message="Gone fishing.", headers={"x-should-retry": "false"}))
    upstream.fail(Fault.status(500, body={"detail": "mine"}))
    upstream.fail(Fault.status(599, body="not json"))
    quota = json.loads(answer(upstream)[2])["error"]
    assert (quota["type"], quota["code"]) == ("insufficient_quota", "insufficient_quota")
    _, headers, body = answer(upstream)
    assert headers["x-should-retry"] == "false"
    assert json.loads(body)["error"]["message"] == "Gone fishing."
    assert json.loads(answer(upstream)[2]) == {"detail": "mine"}
    assert answer(upstream)[::2] == (599, b"not json")


def test_a_permanent_fault_strikes_until_reset(upstream: Simulator) -> None:
    upstream.fail(Fault.status(500), times=None)
    assert [answer(upstream)[0] for _ in range(3)] == [500] * 3
    upstream.reset()
    assert answer(upstream)[0] == 200


def test_a_fault_can_be_meant_for_one_model_or_path(upstream: Simulator) -> None:
    upstream.fail(Fault.status(500), times=None, model="bad")
    upstream.fail(Fault.status(503), path="/v1/embeddings")
    assert [answer(upstream, model=model)[0] for model in ("good", "bad", "good")] == [200, 500, 200]


def test_faults_strike_in_the_order_in_which_they_were_queued(upstream: Simulator) -> None:
    upstream.fail(Fault.status(500))
    upstream.fail(Fault.status(429))
    assert [answer(upstream)[0] for _ in range(3)] == [500, 429, 200]


def test_a_hanging_answer_ends_when_the_client_goes(upstream: Simulator) -> None:
    upstream.fail(Fault.hang())
    with ask(upstream):
        upstream.wait_for_requests(1)
        assert upstream.in_flight == 1
    assert upstream.wait_for(lambda: upstream.in_flight == 0)
    assert upstream.counts["gone"] == 1
    assert upstream.counts["chat"] == 0


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.stall(after=1)])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_hanging_connection_does_not_outlive_close_and_reset(
    upstream: Simulator, fault: Fault, end: str
) -> None:
    upstream.fail(fault)
    with ask(upstream, stream=True) as connection:
        upstream.wait_for_requests(1)
        upstream.close() if end == "close" else upstream.reset()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            connection.getresponse().read()
    assert upstream.wait_for(lambda: upstream.in_flight == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_answer_is_right_in_the_end(upstream: Simulator, *, stream: bool) -> None:
    usual = answer(upstream, stream=stream)[2]
    upstream.fail(Fault.slow(0.01, bytes_per_second=50_000))
    slow = answer(upstream, stream=stream)[2]
    assert len(slow) == len(usual)
    assert upstream.counts["streams" if stream else "chat"] == 2


def test_a_cut_stream_looks_whole_to_http_but_lacks_its_end(upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=3))
    got = parse_events(answer(upstream, stream=True)[2])
    assert len(got) == 3
    assert "[DONE]" not in got
    assert upstream.counts["streams"] == 0


def test_a_stream_is_cut_before_its_finish_reason_at_the_latest(upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=1000))
    got = parse_events(answer(upstream, stream=True)[2])
    assert len(got) > 3
    assert all('"finish_reason":null' in event for event in got)


def test_a_cut_that_is_not_clean_breaks_http_too(upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=3, clean=False))
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer(upstream, stream=True)
    assert len(parse_events(caught.value.partial)) == 3


def test_a_plain_answer_is_cut_after_so_many_bytes(upstream: Simulator) -> None:
    upstream.fail(Fault.cut_stream(after=10))
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer(upstream)
    assert len(caught.value.partial) == 10


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_ends_the_connection_at_once(upstream: Simulator, *, stream: bool) -> None:
    upstream.fail(Fault.reset())
    with pytest.raises(ConnectionResetError):
        answer(upstream, stream=stream)
    assert answer(upstream, stream=stream)[0] == 200


def test_a_reset_can_come_in_the_middle_of_a_stream(upstream: Simulator) -> None:
    upstream.fail(Fault.reset(after=2))
    with ask(upstream, stream=True) as connection, connection.getresponse() as response:
        assert response.status == 200
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)) as caught:
            response.read()
    if isinstance(caught.value, http.client.IncompleteRead):
        assert len(parse_events(caught.value.partial)) == 2


def test_a_stalled_stream_sends_its_first_events_then_nothing(upstream: Simulator) -> None:
    upstream.fail(Fault.stall(after=2))
    with ask(upstream, stream=True) as connection, connection.getresponse() as response:
        first = [response.readline() for _ in range(4)]
        assert [line.startswith(b"data: ") for line in first] == [True, False, True, False]
        assert connection.sock is not None
        connection.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            response.readline()


def test_an_error_in_a_stream_takes_the_place_of_the_rest(upstream: Simulator) -> None:
    upstream.fail(Fault.error_chunk(after=2, message="Overloaded.", code="overloaded"))
    assert answer(upstream)[0] == 200, "a plain answer is none of its business"
    got = parse_events(answer(upstream, stream=True)[2])
    assert json.loads(got[2])["error"] == {
        "message": "Overloaded.", "type": "server_error", "param": None, "code": "overloaded"
    }  # fmt: skip
    assert len(got) == 3


def test_a_broken_event_is_between_valid_ones(upstream: Simulator) -> None:
    upstream.fail(Fault.bad_json_chunk(after=2))
    got = parse_events(answer(upstream, stream=True)[2])
    json.loads(got[1])
    with pytest.raises(json.JSONDecodeError):
        json.loads(got[2])
    json.loads(got[3])
    assert got[-1] == "[DONE]"


def test_bad_json_html_and_nothing_come_with_200(upstream: Simulator) -> None:
    upstream.fail(Fault.bad_json())
    upstream.fail(Fault.html())
    upstream.fail(Fault.empty_body())
    status, _, body = answer(upstream)
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    status, headers, body = answer(upstream)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert answer(upstream)[::2] == (200, b"")
    assert upstream.counts["chat"] == 0


def test_an_answer_can_lack_choices_usage_and_finish_reason(upstream: Simulator) -> None:
    for fault in (Fault.no_choices(), Fault.missing_usage(), Fault.no_finish_reason(), Fault.wrong_schema()):
        upstream.fail(fault)
    none, missing, unfinished, wrong = (json.loads(answer(upstream)[2]) for _ in range(4))
    assert none["choices"] == []
    assert "usage" not in missing
    assert unfinished["choices"][0]["finish_reason"] is None
    assert "choices" not in wrong
    assert upstream.counts["chat"] == 2


def test_a_stream_can_lack_choices_and_finish_reason(upstream: Simulator) -> None:
    for fault in (Fault.no_choices(), Fault.no_finish_reason(), Fault.wrong_schema()):
        upstream.fail(fault)
    none, unfinished, wrong = (parse_events(answer(upstream, stream=True)[2])[:-1] for _ in range(3))
    assert [json.loads(event)["choices"] for event in none] == [[]]
    assert all(json.loads(event)["choices"][0]["finish_reason"] is None for event in unfinished)
    assert "choices" not in json.loads(wrong[0])


def test_usage_can_be_negative_or_anything(upstream: Simulator) -> None:
    upstream.fail(Fault.negative_usage())
    upstream.fail(Fault.usage(prompt_tokens=math.nan, completion_tokens=10**18))
    assert json.loads(answer(upstream)[2])["usage"]["total_tokens"] == -2000
    odd = json.loads(answer(upstream)[2])["usage"]
    assert math.isnan(odd["prompt_tokens"])
    assert odd["completion_tokens"] == 10**18


def test_a_redirect_names_another_place(upstream: Simulator) -> None:
    upstream.fail(Fault.redirect("http://elsewhere.test/v1"))
    status, headers, _ = answer(upstream)
    assert (status, headers["location"]) == (307, "http://elsewhere.test/v1")


@pytest.mark.parametrize("stream", [False, True])
def test_a_big_answer_is_right_and_as_big_as_asked(upstream: Simulator, *, stream: bool) -> None:
    upstream.fail(Fault.big_body(3))
    raw = answer(upstream, stream=stream)[2]
    if stream:
        text = "".join(json.loads(e)["choices"][0]["delta"]["content"] for e in parse_events(raw)[:-1])
    else:
        text = json.loads(raw)["choices"][0]["message"]["content"]
    assert text == "x" * 3_000_000


def test_a_big_answer_ends_when_its_client_disconnects(upstream: Simulator) -> None:
    upstream.fail(Fault.big_body(500))
    with ask(upstream) as connection:
        assert connection.sock is not None
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connection.getresponse() as response:
            response.read(1000)
    assert upstream.wait_for(lambda: upstream.in_flight == 0)
    assert upstream.counts["chat"] == 0


@pytest.mark.parametrize(
    ("text", "fault", "times"),
    [
        ("429", Fault.status(429), 1),
        ("429:retry_after=1,times=3", Fault.status(429, retry_after=1), 3),
        ("status:429,retry_after=soon,times=always", Fault.status(429, retry_after="soon"), None),
        ("hang", Fault.hang(), 1),
        ("cut_stream:5,clean=false", Fault.cut_stream(5, clean=False), 1),
        ("redirect:http://other.test:80/v1", Fault.redirect("http://other.test:80/v1"), 1),
    ],
)
def test_a_fault_is_read_from_text(text: str, fault: Fault, times: int | None) -> None:
    assert Fault.parse(text) == (fault, times)


def test_a_misspelt_fault_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        Fault.parse("cut_steam")
    assert caught.value.suggestion == "cut_stream"
    assert caught.value.expected == ", ".join(KINDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hang:after=3", "hang()"),
        ("cut_stream:after=-1", "a number, at least 0"),
        ("cut_stream:after=soon", "a number, at least 0"),
        ("status:99", "a number from 200 to 599"),
        ("429:times=0", 'a positive integer, or None ("always")'),
    ],
)
def test_invalid_settings_are_reported_with_the_valid_ones(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Fault.parse(text)
    assert caught.value.expected == expected


def test_every_fault_can_be_made_by_name() -> None:
    needed: dict[str, list[Any]] = {"status": [500], "redirect": ["http://other.test"]}
    assert {Fault.from_name(kind, *needed.get(kind, [])).kind for kind in KINDS} == set(KINDS) - {
        "negative_usage"
    }
