"""The life of a chat through the public door, with a plugin of the tests' own, sync and async."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import pytest

import llmcore
from llmcore.errors import (
    BadRequest,
    ConfigError,
    LLMCoreError,
    MalformedReply,
    PluginBroken,
    PluginNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.types import ChatRequest, Message, Reply, ToolCall, Usage

CONFIG: dict[str, Any] = {
    "llm": {"provider": "scripted"},
    "cache": {"provider": "memory"},
    "prices": {"scripted:default": {"input": 1, "output": 2}},
}

Chat = Callable[..., Reply]


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load(CONFIG)


@pytest.fixture(params=["sync", "async"])
def chat(request: pytest.FixtureRequest, core: llmcore.Core) -> Chat:
    if request.param == "sync":
        return core.llm.chat
    return lambda *args, **given: asyncio.run(core.llm.achat(*args, **given))


def test_a_reply_says_everything_that_is_known(chat: Chat) -> None:
    reply = chat("Hello")
    assert reply.text.startswith("answer 1 of")
    assert (reply.provider, reply.model, reply.finish_reason) == ("scripted", "default", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (10, 4)
    assert reply.cost == Decimal("0.000018")
    assert not reply.cached
    assert reply.latency_s > 0


def test_the_same_question_is_answered_from_the_cache_at_no_cost(chat: Chat, scripted: Any) -> None:
    first, second = chat("Hello"), chat("Hello")
    assert len(scripted.requests) == 1
    assert second.cached
    assert (second.text, second.usage, second.model) == (first.text, first.usage, first.model)
    assert (second.cost, second.saved) == (Decimal(0), first.cost)


def test_another_question_is_asked(chat: Chat, scripted: Any) -> None:
    assert chat("Hello").text != chat("Goodbye").text
    assert len(scripted.requests) == 2


def test_without_the_cache_every_call_is_sent(chat: Chat, scripted: Any) -> None:
    chat("Hello", cache=False)
    assert not chat("Hello").cached
    assert not chat("Hello", cache=False).cached
    assert len(scripted.requests) == 3


def test_a_refresh_asks_afresh_and_keeps_the_new_answer(chat: Chat) -> None:
    old, new = chat("Hello"), chat("Hello", cache="refresh")
    assert old.text != new.text
    assert chat("Hello").text == new.text


@pytest.mark.parametrize("reason", ["length", "content_filter", None])
def test_an_unfinished_answer_is_not_cached(chat: Chat, scripted: Any, reason: str | None) -> None:
    scripted.script.append(Reply(text="cut", finish_reason=reason))
    assert chat("Hello").text == "cut"
    assert not chat("Hello").cached


def test_a_request_that_leans_on_the_servers_state_has_no_key(core: llmcore.Core) -> None:
    (target,) = core.llm._models.find_targets(
        None
    )  # no provider of ours takes such a parameter through the public door
    plain = ChatRequest(model="m", messages=[{"role": "user", "content": "Hello"}])
    leaning = ChatRequest(model="m", messages=plain.messages, parameters={"previous_response_id": "r1"})
    assert target.make_key(plain, None) is not None
    assert target.make_key(leaning, None) is None


def test_tool_calls_are_cached_with_the_answer(chat: Chat, scripted: Any) -> None:
    call = ToolCall(name="weather", arguments='{"city":"Paris"}', id="call_1")
    scripted.script.append(Reply(text="", finish_reason="tool_calls", tool_calls=(call,)))
    assert chat("Weather?").tool_calls == (call,)
    again = chat("Weather?")
    assert again.cached
    assert again.tool_calls == (call,)


@pytest.mark.slow
def test_a_failure_that_may_pass_is_tried_again(chat: Chat, scripted: Any) -> None:
    scripted.script += [RateLimited("slow down", retry_after=0), Unavailable("down", retry_after=0)]
    assert chat("Hello").text.startswith("answer 3")
    assert len(scripted.requests) == 3


def test_a_failure_that_cannot_pass_is_final_and_says_whose_it_is(chat: Chat, scripted: Any) -> None:
    scripted.script.append(QuotaExhausted("no money left"))
    with pytest.raises(QuotaExhausted) as caught:
        chat("Hello")
    assert caught.value.provider == "scripted"
    assert len(scripted.requests) == 1


def test_a_foreign_exception_becomes_one_of_ours_with_its_cause_in_words_and_nothing_hanging_on_it(
    chat: Chat, scripted: Any
) -> None:
    scripted.script.append(KeyError("choices"))
    with pytest.raises(ProviderError, match=r"scripted.*KeyError.*choices") as caught:
        chat("Hello")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("foreign", "ours"), [(TimeoutError("late"), Timeout), (ConnectionResetError("reset"), Unavailable)]
)
def test_network_errors_of_the_system_keep_their_meaning(
    scripted: Any, foreign: Exception, ours: type[LLMCoreError]
) -> None:
    scripted.script.append(foreign)
    with pytest.raises(ours):
        llmcore.load({**CONFIG, "retry": {"attempts": 1}}).llm.chat("Hello")


def test_a_secret_in_a_foreign_message_is_not_passed_on(scripted: Any) -> None:
    config = {**CONFIG, "llm": {"provider": "scripted", "scripted": {"key": "sk-canary-4711"}}}
    scripted.script.append(ValueError("GET /v1?key=sk-canary-4711 failed"))
    with pytest.raises(ProviderError) as caught:
        llmcore.load(config).llm.chat("Hello")
    assert "canary" not in str(caught.value)
    assert "GET /v1?key=… failed" in str(caught.value)


def test_attempts_end_with_the_deadline_of_the_call(chat: Chat, scripted: Any) -> None:
    scripted.script.append(RateLimited("slow down", retry_after=3600))
    with pytest.raises(RateLimited) as caught:
        chat("Hello", timeout=5)
    assert caught.value.retry_after == 3600
    assert 0 < scripted.requests[0].timeout_s <= 5


def test_user_and_tags_are_recorded_and_not_sent(scripted: Any) -> None:
    core = llmcore.load({**CONFIG, "observers": {"use": ["listener"]}})
    core.llm.chat("Hello", user="ann", tags=["a", "b"])
    assert core.llm.chat("Hello", user="ben").cached
    assert scripted.requests[0].parameters == {}
    assert [(event.user, event.tags, event.cached) for event in scripted.events] == [
        ("ann", ("a", "b"), False),
        ("ben", (), True),
    ]


def test_an_observer_that_raises_is_reported_once_and_harms_no_call(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    core = llmcore.load({**CONFIG, "observers": {"use": ["listener"]}})
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            assert core.llm.chat(f"Hello {number}", user="trouble").text
    assert len(scripted.events) == 1
    assert len([record for record in caplog.records if "Listener" in record.getMessage()]) == 1


def test_usage_sums_requests_and_counts_hits_separately(chat: Chat, core: llmcore.Core) -> None:
    for _ in range(3):
        chat("Hello")
    totals = core.usage.totals()
    assert (totals.calls, totals.cached, totals.failures) == (1, 2, 0)
    assert (totals.input_tokens, totals.output_tokens, totals.total_tokens) == (10, 4, 14)
    assert totals.cost == Decimal("0.000018")


def test_namespaces_keep_answers_apart(chat: Chat) -> None:
    chat("Hello", cache_namespace="one")
    assert not chat("Hello", cache_namespace="two").cached
    assert not chat("Hello").cached
    assert chat("Hello", cache_namespace="one").cached


def test_an_answer_lives_as_long_as_the_call_says(chat: Chat) -> None:
    chat("Hello", cache_ttl=0.05)
    chat("Goodbye", cache_ttl="1h")
    end = time.monotonic() + 60
    while chat("Hello", cache_ttl=0.05).cached:
        assert time.monotonic() < end
    assert chat("Goodbye").cached


def test_the_price_of_a_usage_is_computed_without_a_call(core: llmcore.Core) -> None:
    usage = Usage(input_tokens=10, output_tokens=4)
    assert core.llm.price(usage) == core.llm.chat("Hello").cost == Decimal("0.000018")
    assert core.llm.price(usage, model="echo:echo") == 0
    assert core.llm.price(usage, model="scripted:other") is None


def test_an_unknown_price_is_none_and_never_zero(scripted: Any) -> None:
    core = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}})
    assert core.llm.chat("Hello").cost is None
    assert core.usage.totals().unpriced == 1
    assert core.llm.chat("Hello").saved is None
    del scripted


def test_another_account_does_not_share_answers(scripted: Any, tmp_path: Any) -> None:
    def ask(account: str) -> Reply:
        config = {
            "llm": {"provider": "scripted", "scripted": {"account": account}},
            "cache": {"provider": "file", "file": {"cache_dir": str(tmp_path)}},
        }
        with llmcore.load(config) as core:
            return core.llm.chat("Hello")

    assert not ask("one").cached
    assert not ask("two").cached
    assert ask("one").cached
    del scripted


@pytest.mark.slow
def test_a_provider_that_cannot_be_created_says_so(scripted: Any) -> None:
    del scripted
    core = llmcore.load({**CONFIG, "llm": {"provider": "scripted", "scripted": {"fails": True}}})
    with pytest.raises(PluginBroken, match="RuntimeError: cannot be created"):
        core.llm.chat("Hello")


def test_an_answer_of_a_wrong_type_is_the_plugins_fault(chat: Chat, scripted: Any) -> None:
    scripted.script.append(Usage())
    with pytest.raises(LLMCoreError):
        chat("Hello")


def test_a_closed_core_closes_its_backends(scripted: Any) -> None:
    with llmcore.load(CONFIG) as core:
        core.llm.chat("Hello")
    assert scripted.closed == ["provider"]


def test_a_core_serves_several_event_loops_one_after_the_other(core: llmcore.Core) -> None:
    first = asyncio.run(core.llm.achat("Hello"))
    second = asyncio.run(core.llm.achat("Hello"))
    assert (first.cached, second.cached) == (False, True)


def test_a_missing_model_is_an_error_without_a_default(
    scripted: Any,
) -> None:
    del scripted
    core = llmcore.load({"llm": {"provider": "openai"}})
    with pytest.raises(ConfigError, match="no model is configured"):
        core.llm.chat("Hello")


class TestAliases:
    CONFIG: ClassVar = {**CONFIG, "models": {"safe": ["scripted:a", "echo:b"], "alone": "scripted:c"}}

    def test_an_alias_selects_a_model(self, scripted: Any) -> None:
        assert llmcore.load(self.CONFIG).llm.chat("Hello", model="alone").model == "c"
        assert scripted.requests[0].model == "c"

    def test_the_next_model_answers_if_the_first_fails(self, scripted: Any) -> None:
        scripted.script.append(QuotaExhausted("no money"))
        reply = llmcore.load(self.CONFIG).llm.chat("Hello", model="safe")
        assert reply.provider == "echo"
        assert len(scripted.requests) == 1

    def test_a_request_that_is_wrong_for_all_is_not_passed_on(self, scripted: Any) -> None:
        scripted.script.append(BadRequest("too long"))
        with pytest.raises(BadRequest, match="too long"):
            llmcore.load(self.CONFIG).llm.chat("Hello", model="safe")


def test_a_provider_that_is_not_installed_is_refused_by_name(scripted: Any) -> None:
    del scripted
    with pytest.raises(PluginNotFound, match="acme") as caught:
        llmcore.load(CONFIG).llm.chat("Hello", model="acme:large")
    assert caught.value.fix == 'model="scripted:acme:large"', "it may be a model with a colon in its name"


def test_a_model_with_colons_is_written_after_its_provider(chat: Chat) -> None:
    assert chat("Hello", model="scripted:ft:gpt-4o:org").model == "ft:gpt-4o:org"
    with pytest.raises(PluginNotFound) as caught:
        chat("Hello", model="ft:gpt-4o:org")
    assert caught.value.fix == 'model="scripted:ft:gpt-4o:org"'


def test_changing_arguments_after_the_start_has_no_effect(core: llmcore.Core, scripted: Any) -> None:
    messages: list[Message] = [{"role": "user", "content": "Question A"}]
    stream = core.llm.stream(messages)
    messages[0]["content"] = "Question B"
    list(stream)
    assert scripted.requests[0].messages == [{"role": "user", "content": "Question A"}]
    assert core.llm.chat("Question A").cached
    assert not core.llm.chat("Question B").cached


def test_an_answer_of_the_wrong_type_is_not_cached(chat: Chat, scripted: Any) -> None:
    scripted.script += [Reply(text="not json"), Reply(text='{"input_tokens":1}')]
    with pytest.raises(MalformedReply):
        chat("Which?", response_format=Usage)
    assert chat("Which?", response_format=Usage).parsed == Usage(input_tokens=1)


def test_a_reader_that_stops_after_the_last_delta_is_not_a_failure(core: llmcore.Core) -> None:
    for delta in core.llm.stream("Hello"):
        if delta.finish_reason:
            break
    totals = core.usage.totals()
    assert (totals.calls, totals.failures) == (1, 0)


@pytest.mark.parametrize("given", [{"model": 5}, {"tags": None}])
def test_arguments_of_a_wrong_type_are_rejected_or_harmless(chat: Chat, given: dict[str, Any]) -> None:
    if "model" in given:
        with pytest.raises(BadRequest, match="model must be text, got int"):
            chat("Hello", **given)
    else:
        assert chat("Hello", **given).text


class TestCounting:
    def test_a_text_messages_and_bodies_of_both_apis_are_counted(self) -> None:
        llm = llmcore.load({}).llm
        assert llm.count_tokens("hello there").exact
        assert llm.count_tokens([{"role": "user", "content": "hello there"}]) > llm.count_tokens(
            "hello there"
        )
        talk = [{"role": "user", "content": "hello there"}]
        assert llm.count_tokens({"model": "m", "messages": talk}) == llm.count_tokens(talk)
        responses = llm.count_tokens({"model": "m", "input": "hello there", "instructions": "Be brief."})
        assert responses > llm.count_tokens("hello there")
        assert not responses.exact

    def test_a_counter_of_bodies_is_given_them_whole(self) -> None:
        llm = llmcore.load({"llm": {"provider": "openai", "model": "gpt-4o"}}).llm
        call = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a": 1}'}
        result = {"type": "function_call_output", "call_id": "call_1", "output": "2"}
        counted = llm.count_tokens({"input": [{"role": "user", "content": "1 + 1"}, call, result]})
        assert (int(counted), counted.exact) == (30, True)
        assert not llm.count_tokens({"input": "Hello", "model": "gpt-6-sol"}).exact
        assert llm.count_tokens({"input": "Hello"}, instructions="Be brief.") > llm.count_tokens(
            {"input": "Hello"}
        )

    @pytest.mark.parametrize(
        "content", [5, b"x", [None], {"neither": 1}, [{"role": "user", "content": 5}], None]
    )
    def test_uncountable_content_is_rejected(self, content: Any) -> None:
        with pytest.raises(BadRequest):
            llmcore.load({}).llm.count_tokens(content)
