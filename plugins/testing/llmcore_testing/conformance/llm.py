"""`LLMConformance`, the tests for every language model backend."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest

from llmcore.errors import BadRequest, LLMCoreError
from llmcore.types import ChatRequest, Delta, Reply, ToolCall, Usage
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.batches import BatchCases
from llmcore_testing.conformance.caller import Call, Caller
from llmcore_testing.conformance.embeddings import EmbeddingCases
from llmcore_testing.conformance.llm_counting import CountingTests
from llmcore_testing.conformance.llm_samples import ODD_MESSAGES, TEXTS, TOOL
from llmcore_testing.conformance.optional_tests import requires

__all__ = ["LLMConformance"]

_USAGE = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "cache_write_12h_tokens",
          "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens",
          "image_output_tokens")  # fmt: skip


class LLMConformance(BatchCases, EmbeddingCases, CountingTests):
    """Tests the contract `llmcore.contracts.llm`.

    The backend does not have to be a real model, but it must give different answers to different questions. Connect it
    to the simulator (`llmcore_testing.simulator`) or to a real server with a cheap `model`.
    """

    kind: ClassVar[str] = "language model"
    must: ClassVar[tuple[str, ...]] = ("complete",)
    stream_method: ClassVar[str] = "stream"
    example: ClassVar[str] = "MyLLM()"
    model: ClassVar[str] = "echo"
    """The model name in requests."""
    deterministic: ClassVar[bool] = True
    """True if equal requests get equal answers. A test of a real model sets False."""

    def request(self, content: Any, **parameters: Any) -> ChatRequest:
        """Return a request. *content* is the user's text, or the list of messages."""
        messages: Any = [{"role": "user", "content": content}] if isinstance(content, str) else content
        return ChatRequest(
            model=self.model, messages=messages, parameters=parameters, timeout_s=30.0, idle_s=30.0
        )

    def make_call(self) -> Call:
        """Return a call that succeeds."""
        return "complete", self.request("Say something.")

    def make_timed_call(
        self, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """See `BrokenUpstream.make_timed_call`."""
        del caller
        request = msgspec.structs.replace(self.request("Say something."), timeout_s=timeout_s, idle_s=idle_s)
        return ("complete", request), {}

    def make_timed_call_of(
        self, method: str, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """See `BrokenUpstream.make_timed_call_of`."""
        timed = super().make_timed_call_of(method, caller, timeout_s, idle_s)
        if timed is None or method != "embed":
            return timed
        request = msgspec.structs.replace(
            self.embedding_request(["It rains."]), timeout_s=timeout_s, idle_s=idle_s
        )
        return ("embed", request), {}

    @for_ability("embed")
    @requires("broken")
    def test_the_deadline_ends_embeddings_that_trickle(
        self,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.check_deadline("embed", broken, canary, request, caplog)

    def is_whole(self, items: list[Any]) -> bool:
        """Return whether a delta has a `finish_reason`. The host raises an error for a stream without one."""
        return any(item.finish_reason for item in items)

    def make_odd_call(self) -> Call:
        """Return a call that raises or finds nothing."""
        return "complete", self.request([])

    def test_an_answer_has_a_text_a_model_and_a_finish_reason(self) -> None:
        reply = self._complete("Say something.")
        assert reply.text.strip(), "Reply.text must not be empty for a plain question"
        assert reply.model, "Reply.model must name the model that answered"
        assert reply.finish_reason == "stop", f"the finish_reason must be 'stop', got {reply.finish_reason!r}"
        assert reply.tool_calls == (), "a reply to a request without tools must have no tool calls"

    @pytest.mark.usefixtures("no_threads")
    def test_it_works_or_raises_if_no_thread_can_be_started(self) -> None:
        self.works_or_refuses("complete", self.request("Say something."))
        if self.caller.has("stream"):
            self.works_or_refuses("stream", self.request("Say something."))

    def test_a_tracked_request_is_reported_as_sent(self) -> None:
        self.reports_sending("complete", self.request("Say something."))

    def test_answers_depend_on_the_question(self) -> None:
        questions = ["How high is the Zugspitze?", "Name three rivers.", "What is seven times six?"]
        answers = {self._complete(question).text for question in questions}
        assert len(answers) == len(questions), "different questions must have different answers"

    def test_the_same_request_has_the_same_answer(self) -> None:
        if not self.deterministic:
            pytest.skip("this model is not deterministic")
        assert self._complete("Once more.").text == self._complete("Once more.").text

    def test_a_conversation_of_several_messages_is_answered(self) -> None:
        reply = self._complete(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "My name is Ada."},
                {"role": "assistant", "content": "Hello Ada."},
                {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]},
            ]
        )
        assert reply.text

    def test_usage_is_given_and_consistent(self) -> None:
        short, long = self._complete("Hi"), self._complete("word " * 200)
        for reply in (short, long):
            self._check_usage(reply.usage)
        assert long.usage.input_tokens > short.usage.input_tokens, "a longer text must have more input tokens"

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_any_text_is_answered(self, text: str) -> None:
        reply = self._complete(text)
        reply.text.encode()  # fails for a lone surrogate, which could not be stored or printed

    @pytest.mark.parametrize("messages", ODD_MESSAGES.values(), ids=ODD_MESSAGES)
    def test_malformed_messages_are_answered_or_raise_bad_request(self, messages: list[Any]) -> None:
        try:
            reply = self.call("complete", self.request(messages))
        except BadRequest as error:
            self._check_error(error)
        else:
            assert isinstance(reply, Reply)

    def test_the_request_is_not_changed(self) -> None:
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "Look."}]},
            {"role": "user", "content": "And?"},
        ]
        tools = [TOOL]
        before = msgspec.json.encode([messages, tools])
        with contextlib.suppress(BadRequest):  # raised for a model without tools
            self._complete(messages, tools=tools)
        assert msgspec.json.encode([messages, tools]) == before, "complete must not change the request"

    def test_concurrent_calls_get_their_own_answers(self) -> None:
        questions = [f"What is {i} times {i}?" for i in range(8)]
        alone = [self._complete(question).text for question in questions] if self.deterministic else []
        replies = self.together([("complete", self.request(question)) for question in questions])
        assert all(isinstance(reply, Reply) for reply in replies)
        if self.deterministic:
            assert [reply.text for reply in replies] == alone, "concurrent calls got each other's answers"

    def test_a_streamed_answer_equals_the_answer_of_complete(self) -> None:
        self.needs("stream")
        question = "Tell a story of rain, in a few words."
        deltas = self._stream(question)
        text = "".join(delta.text for delta in deltas)
        assert text.strip(), "the stream must contain text"
        if self.deterministic:
            assert text == self._complete(question).text, (
                "the joined deltas must equal the answer of complete"
            )

    def test_a_stream_has_several_deltas_and_the_last_one_has_the_finish_reason(self) -> None:
        self.needs("stream")
        deltas = self._stream("word " * 40)
        assert len(deltas) > 1, "an answer must be split into several deltas"
        assert deltas[-1].finish_reason, "the last delta must have the finish_reason"
        early = [delta for delta in deltas[:-1] if delta.finish_reason]
        assert not early, "only the last delta may have a finish_reason"

    def test_a_stream_has_its_usage_once(self) -> None:
        self.needs("stream")
        usages = [delta.usage for delta in self._stream("Hello there.") if delta.usage is not None]
        assert len(usages) == 1, f"exactly one delta must have usage, got {len(usages)}"
        self._check_usage(usages[0])

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_no_character_is_split_between_deltas(self, text: str) -> None:
        self.needs("stream")
        joined = "".join(delta.text for delta in self._stream(text))
        assert "\ufffd" not in joined, "a character must not be split between deltas"
        joined.encode()

    def test_a_stream_can_be_closed_early(self) -> None:
        self.needs("stream")
        for _ in range(5):
            first = self.collect("stream", self.request("word " * 50), limit=1)
            assert len(first) == 1
        assert self._complete("Still there?").text, "calls must work after closing a stream early"

    def test_a_stream_closed_early_does_not_mix_with_the_next_one(self) -> None:
        self.needs("stream")
        if not self.deterministic:
            pytest.skip("this model is not deterministic")
        for i in range(8):
            interrupted = self.collect("stream", self.request(f"Left early, number {i}."), limit=1)
            assert interrupted
            question = f"What is {i} plus {i}?"
            text = "".join(delta.text for delta in self._stream(question))
            assert text == self._complete(question).text

    @pytest.mark.parametrize(
        "messages", [ODD_MESSAGES["no_messages"], ODD_MESSAGES["a_number_as_content"]], ids=["none", "number"]
    )
    def test_malformed_messages_are_streamed_or_raise_bad_request(self, messages: list[Any]) -> None:
        self.needs("stream")
        try:
            deltas = self._stream(messages)
        except BadRequest as error:
            self._check_error(error)
        else:
            assert deltas[-1].finish_reason

    def test_an_answer_cut_by_max_tokens_has_the_finish_reason_length(self) -> None:
        try:
            reply = self._complete("word " * 60, max_tokens=3)
        except LLMCoreError as error:
            pytest.skip(f"this backend does not support max_tokens: {error.message}")
        whole = self._complete("word " * 60)
        if reply.text != whole.text:
            assert reply.finish_reason == "length", "a truncated answer must have the finish_reason 'length'"

    def test_a_required_tool_call_has_a_name_and_arguments_as_text(self) -> None:
        try:
            reply = self._complete("Weather in Oslo?", tools=[TOOL], tool_choice="required")
        except LLMCoreError as error:
            pytest.skip(f"this backend does not support tools: {error.message}")
        for call in reply.tool_calls:
            assert isinstance(call, ToolCall)
            assert call.name, "ToolCall.name must name the function"
            assert type(call.arguments) is str, "ToolCall.arguments must be JSON text, not a decoded value"
        if reply.tool_calls:
            assert reply.finish_reason == "tool_calls"

    def test_the_body_is_a_json_object_or_empty(self) -> None:
        reply = self._complete("Hello")
        if reply.body:
            assert isinstance(msgspec.json.decode(reply.body), Mapping), (
                "Reply.body must be the server's JSON or empty"
            )

    @pytest.mark.parametrize("kind", ["plain", "long", "limited", "tool"])
    def test_no_answer_uses_more_than_most_usage(self, kind: str) -> None:
        self.needs("most_usage", plain=True)
        request = self._make_request(kind)
        self._check_most(self.caller.provider.most_usage(request), request)

    def test_exact_most_usage_is_enough_and_not_above_the_estimate(self) -> None:
        self.needs("most_usage", plain=True)
        request = self._make_request("plain")
        loose, close = (self.caller.provider.most_usage(request, exact=exact) for exact in (False, True))
        if loose is not None:
            assert close is not None, "most_usage with exact=True must return a Usage if exact=False does"
            assert close.input_tokens <= loose.input_tokens, (
                "most_usage with exact=True must not exceed exact=False"
            )
        self._check_most(close, request)

    @pytest.mark.parametrize("messages", ODD_MESSAGES.values(), ids=ODD_MESSAGES)
    def test_most_usage_accepts_malformed_messages(self, messages: list[Any]) -> None:
        self.needs("most_usage", plain=True)
        for exact in (False, True):
            most = self.caller.provider.most_usage(self.request(messages), exact=exact)
            assert most is None or isinstance(most, Usage), "most_usage must return a Usage or None"

    def test_list_models_returns_distinct_names(self) -> None:
        self.needs("list_models")
        models = self.call("list_models")
        assert isinstance(models, Sequence), "list_models must return a sequence"
        assert not isinstance(models, str), "list_models must return a sequence of names, not one text"
        assert all(isinstance(model, str) and model for model in models), "each name must be a text"
        assert len(set(models)) == len(models), "list_models must not return duplicates"

    def _make_request(self, kind: str) -> ChatRequest:
        return {
            "plain": lambda: self.request("Say something."),
            "long": lambda: self.request(" ".join([*TEXTS.values()] * 20)),
            "limited": lambda: self.request("word " * 60, max_tokens=3),
            "tool": lambda: self.request("Weather in Oslo?", tools=[TOOL], tool_choice="required"),
        }[kind]()

    def _check_most(self, most: Any, request: ChatRequest) -> None:
        __tracebackhide__ = True
        if most is None:
            pytest.skip("most_usage returns None for this request")
        assert isinstance(most, Usage), f"most_usage must return a Usage or None, got {type(most).__name__}"
        try:
            reply = self.call("complete", request)
        except LLMCoreError as error:
            pytest.skip(f"this backend rejects the request: {error.message}")
        for name in ("input_tokens", "output_tokens"):
            used, bound = getattr(reply.usage, name), getattr(most, name)
            assert used <= bound, f"{name} must not exceed most_usage ({bound}), got {used}"
        price = getattr(self.caller.provider, "price", None)
        if price is not None:
            cost, dearest = price(request.model, reply.usage), price(request.model, most)
            assert cost is None or dearest is None or cost <= dearest, (
                f"the cost must not exceed that of most_usage ({dearest}), got {cost}"
            )

    def _check_error(self, error: LLMCoreError) -> None:
        __tracebackhide__ = True
        assert error.message.strip(), "the message of the error must not be empty"
        assert self.foreign(error) == [], "the error must not chain an SDK's exception: use raise_unchained"

    def _complete(self, content: Any, **parameters: Any) -> Reply:
        __tracebackhide__ = True
        reply = self.call("complete", self.request(content, **parameters))
        assert isinstance(reply, Reply), f"complete must return a Reply, got {type(reply).__name__}"
        assert type(reply.text) is str, f"Reply.text must be a str, got {type(reply.text).__name__}"
        assert type(reply.body) is bytes, f"Reply.body must be bytes, got {type(reply.body).__name__}"
        assert isinstance(reply.tool_calls, tuple), "Reply.tool_calls must be a tuple"
        return reply

    def _stream(self, content: Any) -> list[Delta]:
        __tracebackhide__ = True
        deltas = self.collect("stream", self.request(content))
        assert deltas, "the stream must not be empty"
        for delta in deltas:
            assert isinstance(delta, Delta), f"stream must yield Delta, got {type(delta).__name__}"
            assert type(delta.text) is str, f"Delta.text must be a str, got {type(delta.text).__name__}"
        pieces: list[Delta] = [delta for delta in deltas if delta.has_content]
        assert pieces, "the stream must have a delta with content"
        return pieces

    @staticmethod
    def _check_usage(usage: Any) -> None:
        assert isinstance(usage, Usage), f"usage must be a Usage, got {type(usage).__name__}"
        for name in _USAGE:
            number = getattr(usage, name)
            assert type(number) is int, f"{name} must be an int, got {type(number).__name__}"
            assert number >= 0, f"{name} must be at least 0, got {number}"
        assert usage.input_tokens > 0, (
            "input_tokens must be greater than 0; count them if the server does not"
        )
        assert usage.output_tokens > 0, (
            "output_tokens must be greater than 0; count them if the server does not"
        )
        assert usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens, (
            "input_tokens must include the cached tokens"
        )
        assert usage.cache_write_12h_tokens <= usage.cache_write_tokens, (
            "cache_write_tokens must include those for 12 h"
        )
        assert usage.reasoning_tokens <= usage.output_tokens, "output_tokens must include reasoning_tokens"
        cost = usage.cost
        assert cost is None or isinstance(cost, Decimal), (
            f"cost must be a Decimal or None, got {type(cost).__name__}"
        )
        assert cost is None or (cost.is_finite() and cost >= 0), f"cost must be at least 0, got {cost}"
