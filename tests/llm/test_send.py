"""Requests in a vendor's format: `send` and `asend` do what `chat` does, and share its entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore import Reply
from llmcore.errors import BadRequest, BudgetExceeded, LLMCoreError, Timeout
from llmcore_testing.simulator import Fault, Simulator

MODEL = "gpt-5.6-luna"
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me of rain"}]
BODY: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "temperature": 0.2}

Send = Callable[..., Reply]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[llmcore.Core]:
    with llmcore.load(
        {
            "llm": {
                "provider": "openai",
                "model": "gpt-5.6-sol",
                "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            },
            "models": {"fast": f"openai:{MODEL}"},
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
            "retry": {"attempts": 2},
        }
    ) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest, core: llmcore.Core) -> Send:
    if request.param == "sync":
        return core.llm.send
    return lambda *args, **given: asyncio.run(core.llm.asend(*args, **given))


def get_last_body(upstream: Simulator) -> Any:
    return upstream.requests[-1].body


def test_the_body_is_sent_and_the_answer_comes_back_in_its_format(send: Send, upstream: Simulator) -> None:
    reply = send(BODY)
    assert get_last_body(upstream) == BODY
    assert reply.raw["choices"][0]["message"]["content"] == reply.text
    assert (reply.raw["object"], reply.provider, reply.cached) == ("chat.completion", "openai", False)
    assert reply.cost is not None


def test_an_equal_chat_shares_the_entry(send: Send, core: llmcore.Core, upstream: Simulator) -> None:
    sent = send(BODY)
    chat = core.llm.chat(MESSAGES, model=MODEL, temperature=0.2)
    assert (chat.cached, chat.text, chat.raw) == (True, sent.text, sent.raw)
    other = core.llm.chat("Goodbye", model="fast", system="Be brief.", max_tokens=50)
    again = send(
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Goodbye"}],
            "max_tokens": 50,
            "seed": None,
        },
        model="fast",
    )
    assert (again.cached, again.text) == (True, other.text)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("model", "given", "asked"),
    [
        (MODEL, {}, MODEL),
        (f"openai:{MODEL}", {}, MODEL),
        ("fast", {}, MODEL),
        (None, {}, "gpt-5.6-sol"),
        ("gpt-5.6-terra", {"model": "fast"}, MODEL),
    ],
)
def test_the_model_is_a_model_or_an_alias_and_the_argument_wins(
    send: Send, upstream: Simulator, model: str | None, given: dict[str, Any], asked: str
) -> None:
    body = {"messages": MESSAGES} if model is None else {"model": model, "messages": MESSAGES}
    send(body, **given)
    assert get_last_body(upstream)["model"] == asked


def test_stream_in_the_body_is_ignored(send: Send, upstream: Simulator) -> None:
    reply = send({**BODY, "stream": True, "stream_options": {"include_usage": True}})
    assert reply.text
    assert get_last_body(upstream) == BODY


def test_user_in_the_body_is_sent_and_only_the_argument_is_recorded(
    send: Send, core: llmcore.Core, upstream: Simulator
) -> None:
    send({**BODY, "user": "wire-user"})
    assert get_last_body(upstream)["user"] == "wire-user"
    send(BODY, user="ann", tags="nightly", cache=False)
    assert "user" not in get_last_body(upstream)
    rows = list(core.usage.export())
    assert [(row["user"], row["tags"]) for row in rows] == [(None, []), ("ann", ["nightly"])]


def test_fields_that_only_some_servers_know_are_sent_and_in_the_key(send: Send, upstream: Simulator) -> None:
    send({**BODY, "top_k": 5})
    assert get_last_body(upstream)["top_k"] == 5
    assert not send({**BODY, "top_k": 6}).cached
    assert send({**BODY, "top_k": 6}).cached


@pytest.mark.parametrize(
    "field",
    [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"store": True, "background": True}],
)
def test_a_request_that_depends_on_state_on_the_server_is_never_cached(
    send: Send, upstream: Simulator, field: dict[str, Any]
) -> None:
    assert [send({**BODY, **field}).cached for _ in range(2)] == [False, False]
    assert len(upstream.requests) == 2


def test_stored_requests_are_cached(send: Send) -> None:
    assert [send({**BODY, "store": True}).cached for _ in range(2)] == [False, True]


def test_a_temporary_error_is_retried(send: Send, upstream: Simulator) -> None:
    upstream.fail(Fault.status(503, retry_after=0))
    assert send(BODY).text
    assert len(upstream.requests) == 2


def test_an_error_names_the_method_in_its_fix(send: Send, upstream: Simulator) -> None:
    upstream.fail(Fault.hang(), times=None)
    for timeout_s in (0.2, 2, 20):  # on a busy machine the first may be over before the request is sent
        with pytest.raises(Timeout) as caught:
            send(BODY, timeout=timeout_s)
        if upstream.requests:
            break
    assert caught.value.fix == "send(..., timeout=120)"


def test_a_budget_refuses_a_body_before_it_is_sent(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(
        {
            "llm": {
                "provider": "openai",
                "model": MODEL,
                "openai": {"api_key": "k", "base_url": upstream.base_url},
            },
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
            "prices": {f"openai:{MODEL}": {"input": 1000, "output": 1000}},
            "budget": {"limit": "0.001 USD"},
        }
    )
    with pytest.raises(BudgetExceeded):
        core.llm.send({**BODY, "max_tokens": 1000})
    assert upstream.requests == []


def test_all_choices_are_there_fresh_and_cached(send: Send) -> None:
    replies = [send({**BODY, "n": 2}) for _ in range(2)]
    assert [reply.cached for reply in replies] == [False, True]
    for reply in replies:
        assert [choice.text for choice in reply.choices] == [
            choice["message"]["content"] for choice in reply.raw["choices"]
        ]
        assert [choice.finish_reason for choice in reply.choices] == ["stop", "stop"]
        assert reply.text == reply.choices[0].text


WRONG: tuple[tuple[Any, dict[str, Any], str], ...] = (
    (BODY, {"api": "embeddings"}, "body has no `input`"),
    (
        {**BODY, "messages": [{"role": "tool", "content": "x"}]},
        {"api": "messages"},
        "`messages[0].role` cannot be translated",
    ),
    (BODY, {"api": "chta"}, "api must be one of"),
    ("Hello", {}, "body must be a dict, got str"),
    ({"model": MODEL}, {}, "body has no `messages`"),
    ({"messages": []}, {}, "there is no message to answer"),
    ({"messages": [{"rol": "user", "content": "x"}]}, {}, "has no role"),
    ({"model": 3, "messages": MESSAGES}, {}, "body.model must be text, got int"),
    ({**BODY, "temperature": float("nan")}, {}, "body.temperature"),
    (BODY, {"cache": "refrsh"}, "cache must be True"),
    (BODY, {"temperature": 1}, "send has no argument `temperature`"),
    (BODY, {"tmeout": 1}, "send has no argument `tmeout`"),
)


@pytest.mark.parametrize(("body", "given", "message"), WRONG)
def test_a_wrong_call_is_refused_before_anything_is_sent(
    send: Send, upstream: Simulator, body: Any, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        send(body, **given)
    assert message in str(caught.value)
    assert upstream.requests == []


def test_a_misspelt_argument_is_proposed(core: llmcore.Core) -> None:
    options: dict[str, Any] = {"tmeout": 1}
    with pytest.raises(LLMCoreError) as caught:
        core.llm.send(BODY, **options)
    assert (caught.value.suggestion, caught.value.fix) == ("timeout", "send(body, timeout=...)")


def test_a_provider_without_a_document_gets_one(scripted: Any) -> None:
    del scripted
    core = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}})
    for _ in range(2):
        reply = core.llm.send({"messages": MESSAGES})
        assert reply.raw["object"] == "chat.completion"
        assert reply.raw["choices"][0]["message"]["content"] == reply.text
        assert reply.raw["usage"]["prompt_tokens"] == 10


def test_the_body_of_the_caller_is_not_changed(send: Send) -> None:
    body = {**BODY, "stream": True, "seed": None}
    before = dict(body)
    send(body)
    assert body == before
