"""Streamed answers: over real HTTP, and byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import IncompleteReply, MalformedReply, ProviderError
from llmcore.types import ChatRequest, Delta, Secret, Usage
from llmcore_openai_optimized.account import Account, OpenAIOptions
from llmcore_openai_optimized.chat_reader import ChatReader
from llmcore_openai_optimized.errors import AnswerError, Errors
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Simulator

MODEL = "gpt-5.6-luna"
MESSAGES: Any = [{"role": "user", "content": "Tell me of rain"}]
REQUEST = ChatRequest(model=MODEL, messages=MESSAGES, timeout_s=30, idle_s=10)


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read_stream(provider: OpenAIProvider, variant: str, request: ChatRequest = REQUEST) -> list[Delta]:
    async def collect() -> list[Delta]:
        return [delta async for delta in provider.astream(request)]

    deltas = list(provider.stream(request)) if variant == "sync" else asyncio.run(collect())
    return [delta for delta in deltas if delta.has_content]


def read(pieces: Sequence[bytes]) -> list[Delta]:
    errors = Errors(Account.from_options(OpenAIOptions(api_key=Secret("k"))))
    reader = ChatReader(REQUEST, {}, errors)
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return [*deltas, *reader.end()]


def read_content(pieces: Sequence[bytes]) -> list[Delta]:
    """Return the deltas without those of events that add nothing to the answer."""
    return [delta for delta in read(pieces) if delta.has_content]


def catch_error(*pieces: bytes) -> ProviderError:
    with pytest.raises(AnswerError) as caught:
        read(pieces)
    return caught.value.error


def make_event(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"


def make_chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": more.pop("index", 0), "delta": delta or {}, "finish_reason": finish}
    choice |= {name: more.pop(name) for name in ("logprobs",) if name in more}
    return make_event({"id": "c1", "created": 7, "model": "m", "choices": [choice], **more})


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
WHOLE = b"".join(
    [
        b": a comment\r\n\r\n",
        make_chunk({"role": "assistant", "content": ""}),
        make_chunk({"content": "Grüße, "}),
        make_chunk({"content": "Regen \U0001f327"}).replace(b"\n", b"\r\n"),
        make_chunk(finish="stop", system_fingerprint="fp"),
        make_event(
            {"id": "c1", "created": 7, "model": "m", "choices": [], "usage": USAGE, "service_tier": "flex"}
        ),
        make_event("[DONE]"),
    ]
)


def test_a_stream_asks_for_its_usage(upstream: Simulator, provider: OpenAIProvider, variant: str) -> None:
    read_stream(provider, variant)
    body = upstream.requests[0].body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_stream_options_of_the_caller_are_kept(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    own = {"stream_options": {"include_obfuscation": False}}
    read_stream(provider, variant, ChatRequest(model=MODEL, messages=MESSAGES, parameters=own))
    assert upstream.requests[0].body["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


def test_only_the_last_delta_has_finish_reason_usage_and_body(provider: OpenAIProvider, variant: str) -> None:
    *deltas, last = read_stream(provider, variant)
    assert len(deltas) > 1
    assert all(delta.text and not delta.finish_reason and delta.usage is None for delta in deltas)
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert not last.usage.estimated
    assert last.request_id
    assert last.model == MODEL


def test_the_assembled_body_equals_that_of_a_plain_answer(provider: OpenAIProvider, variant: str) -> None:
    last = read_stream(provider, variant)[-1]
    plain = provider.complete(REQUEST)
    apart = {"id", "created"}
    mine = {key: value for key, value in json.loads(last.body).items() if key not in apart}
    theirs = {key: value for key, value in plain.raw.items() if key not in apart}
    for body in (mine, theirs):  # absent fields and null are equivalent
        for choice in body["choices"]:
            choice["message"] = {name: value for name, value in choice["message"].items() if value}
            choice.pop("logprobs", None)
    assert mine == theirs


def test_tool_calls_come_in_pieces_and_are_whole_in_the_body(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    calls = [
        {"function": {"name": "add", "arguments": {"a": 1, "b": [1, 2, 3]}}},
        {"function": {"name": "now", "arguments": {}}},
    ]
    upstream.replies({"tool_calls": calls})
    tools = [{"type": "function", "function": {"name": name}} for name in ("add", "now")]
    *deltas, last = read_stream(
        provider, variant, ChatRequest(model=MODEL, messages=MESSAGES, parameters={"tools": tools})
    )
    joined = {0: "", 1: ""}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        joined[piece.index] += piece.arguments
    made = json.loads(last.body)["choices"][0]["message"]["tool_calls"]
    assert [json.loads(joined[0]), json.loads(joined[1])] == [{"a": 1, "b": [1, 2, 3]}, {}]
    assert [call["function"]["name"] for call in made] == ["add", "now"]
    assert [call["function"]["arguments"] for call in made] == [joined[0], joined[1]]
    assert all("index" not in call and call["id"] for call in made)
    assert last.finish_reason == "tool_calls"


@pytest.mark.slow
def test_leaving_a_stream_early_ends_the_request(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    upstream.replies("word " * 200_000)

    async def first() -> Delta:
        deltas = provider.astream(REQUEST)
        async for delta in deltas:
            if delta.text:
                await deltas.aclose()  # type: ignore[attr-defined]
                return delta
        raise AssertionError

    if variant == "sync":
        deltas = provider.stream(REQUEST)
        assert next(delta for delta in deltas if delta.text)
        deltas.close()  # type: ignore[attr-defined]
    else:
        assert asyncio.run(first()).text
    assert upstream.wait_for(lambda: upstream.in_flight == 0 and upstream.counts["gone"] == 1)


def test_a_stream_is_read_as_it_was_written() -> None:
    one, two, last = read_content([WHOLE])
    assert [one.text, two.text] == ["Grüße, ", "Regen \U0001f327"]
    assert last.usage == Usage(input_tokens=5, output_tokens=2)
    assert last.service_tier == "flex"
    assert json.loads(last.body)["choices"][0]["message"]["content"] == "Grüße, Regen \U0001f327"


@given(st.lists(st.integers(0, len(WHOLE)), max_size=40))
def test_a_stream_is_read_alike_however_the_network_splits_it(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    assert read([WHOLE[start:end] for start, end in pairwise(edges)]) == read([WHOLE])


@given(st.integers(0, WHOLE.index(b'"stop"')))
def test_a_stream_cut_before_its_end_is_never_a_short_success(end: int) -> None:
    failure = catch_error(WHOLE[:end])
    assert isinstance(failure, IncompleteReply | MalformedReply)
    assert "Grüße, Regen \U0001f327".startswith(failure.partial or "")


def test_a_stream_with_a_finish_reason_is_complete_without_done() -> None:
    *_, last = read([make_chunk({"content": "Rain"}), make_chunk(finish="stop").rstrip(b"\n")])
    assert last.finish_reason == "stop"
    assert last.usage == Usage(input_tokens=10, output_tokens=1, estimated=True)


def test_bytes_after_the_end_are_ignored() -> None:
    assert read([WHOLE, make_chunk({"content": "more"}), b"data: {no json}\n\n"]) == read([WHOLE])


def test_done_without_a_reason_is_incomplete() -> None:
    failure = catch_error(make_chunk({"content": "Rain"}), make_event("[DONE]"))
    assert isinstance(failure, IncompleteReply)
    assert failure.partial == "Rain"


def test_every_choice_must_end() -> None:
    both = make_chunk({"content": "a"}) + make_chunk({"content": "b"}, index=1) + make_chunk(finish="stop")
    assert isinstance(catch_error(both), IncompleteReply)
    *deltas, last = read([both, make_chunk(finish="length", index=1)])
    assert [(delta.choice, delta.text, delta.finish_reason) for delta in (*deltas, last)] == [
        (0, "a", None),
        (1, "b", None),
        (0, "", "stop"),
        (1, "", "length"),
    ]
    assert [delta.usage is None for delta in (*deltas, last)] == [True, True, True, False]
    choices = json.loads(last.body)["choices"]
    assert [(c["message"]["content"], c["finish_reason"]) for c in choices] == [
        ("a", "stop"),
        ("b", "length"),
    ]


def test_fields_of_a_vendors_own_are_joined_into_the_body() -> None:
    pieces = [
        make_chunk({"role": "assistant", "reasoning_content": "Hm"}, logprobs={"content": [{"token": "a"}]}),
        make_chunk({"role": "assistant", "reasoning_content": "m."}, logprobs={"content": [{"token": "b"}]}),
        make_chunk({"refusal": "No", "audio": {"id": "x", "transcript": "la"}}),
        make_chunk({"refusal": ".", "audio": {"id": "x", "transcript": "la"}}, "stop"),
    ]
    choice = json.loads(read(pieces)[-1].body)["choices"][0]
    assert choice["message"] == {
        "role": "assistant", "content": None, "reasoning_content": "Hmm.", "refusal": "No.",
        "audio": {"id": "x", "transcript": "lala"},
    }  # fmt: skip
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_an_event_of_several_lines_is_one() -> None:
    spread = make_chunk({"content": "Rain"}, "stop").replace(b', "created"', b',\ndata: "created"')
    assert spread.count(b"data:") == 2
    (delta,) = read([spread])
    assert (delta.text, delta.finish_reason) == ("Rain", "stop")


def parse_events(sent: bytes) -> list[bytes]:
    """Return the data of the events in *sent*, whose lines end with a line feed."""
    blocks = [block for block in sent.replace(b"\r\n", b"\n").split(b"\n\n") if b"data: " in block]
    return [block.partition(b"data: ")[2] for block in blocks]


def test_each_event_is_in_one_delta_as_it_was_sent() -> None:
    deltas = read([WHOLE])
    assert [delta.raw for delta in deltas] == parse_events(WHOLE)
    (end,) = [delta for delta in deltas if delta.finish_reason]
    assert (end.raw or b"").count(b'"finish_reason": "stop"') == 1
    assert [delta.has_content for delta in deltas] == [False, True, True, True, False, False]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.sampled_from(["soon", "late"]))
def test_no_event_is_lost_or_repeated_with_several_choices(indexes: list[int], ends: str) -> None:
    sent: list[bytes] = []
    for at, index in enumerate(indexes):
        sent.append(make_chunk({"content": f"{at} "}, index=index))
        if ends == "soon" and index not in indexes[at + 1 :]:
            sent.append(make_chunk(finish="stop", index=index))
    if ends == "late":
        sent += [make_chunk(finish="stop", index=index) for index in sorted(set(indexes))]
    whole = b"".join(sent) + make_event("[DONE]")
    deltas = read([whole])
    assert [delta.raw for delta in deltas if delta.raw] == parse_events(whole)
    texts: dict[int, str] = {}
    for delta in deltas:
        texts[delta.choice] = texts.get(delta.choice, "") + delta.text
    expected = {
        "".join(f"{at} " for at, index in enumerate(indexes) if index == each) for each in set(indexes)
    }
    assert set(filter(None, texts.values())) == expected


def test_named_events_and_those_that_only_keep_alive_are_passed_on() -> None:
    sent = (
        b"event: ping\ndata: {}\n\n"
        + make_chunk({"content": "Rain"})
        + make_chunk(finish="stop")
        + make_event("[DONE]")
    )
    deltas = read([sent])
    assert (deltas[0].raw, deltas[0].event_name) == (b"{}", "ping")
    assert [delta.event_name for delta in deltas[1:]] == [None] * 3


def test_log_probabilities_come_with_their_pieces() -> None:
    tokens = [{"content": [{"token": text, "logprob": -0.1}]} for text in ("Rain", " falls")]
    sent = [
        make_chunk({"content": "Rain"}, logprobs=tokens[0]),
        make_chunk({"content": " falls"}, logprobs=tokens[1]),
        make_chunk(finish="stop"),
    ]
    assert [delta.logprobs for delta in read(sent)] == [*tokens, None]


def test_a_finish_reason_that_is_not_the_end_holds_nothing_back() -> None:
    errors = Errors(Account.from_options(OpenAIOptions(api_key=Secret("k"))))
    reader = ChatReader(REQUEST, {}, errors)
    texts = [
        [delta.text for delta in reader.feed(make_chunk({"content": text}, "stop"))]
        for text in ("Rain", " falls", " down")
    ]
    assert texts == [[], ["Rain"], [" falls"]]
    assert [(delta.text, delta.finish_reason) for delta in reader.end()] == [(" down", "stop")]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "an empty body"),
        (b"Hello\n\n", "not a chat completion: Hello"),
        (make_event({"hello": 1}), 'not a chat completion: data: {"hello"'),
        (make_event({"choices": []}) + make_event("[DONE]"), "without a choice"),
        (make_event('{"choices": [{"delta": 7}]}'), "`delta` of an unknown shape: 7"),
        (make_event("{cut"), "cannot be read"),
    ],
)
def test_a_stream_without_chunks_is_malformed(sent: bytes, said: str) -> None:
    failure = catch_error(sent)
    assert isinstance(failure, MalformedReply)
    assert said in failure.message


def test_an_error_event_ends_the_stream_with_the_partial_text() -> None:
    sent = make_chunk({"content": "Rain"}) + make_event({"error": {"message": "Overloaded", "code": 529}})
    failure = catch_error(sent)
    assert (type(failure).__name__, failure.status, failure.partial) == ("Unavailable", 529, "Rain")
    named = catch_error(b"event: error\n" + make_event({"message": "quota", "code": "insufficient_quota"}))
    assert type(named).__name__ == "QuotaExhausted"


def test_a_stream_without_an_end_is_not_read_on_for_ever() -> None:
    failure = catch_error(make_chunk({"content": "Rain"}), b"x" * 32_000_001)
    assert isinstance(failure, MalformedReply)
    assert failure.partial == "Rain"
