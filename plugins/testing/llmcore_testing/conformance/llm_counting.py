"""The tests of `LLMConformance` for token counts, computed locally or by the server."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import msgspec
import pytest

from llmcore.types import ChatRequest, TokenCount
from llmcore_testing.conformance.abilities import Abilities, for_ability
from llmcore_testing.conformance.llm_content import ContentTests
from llmcore_testing.conformance.llm_samples import TEXTS, TOOL
from llmcore_testing.conformance.optional_tests import requires

__all__ = ["CountingTests"]

_SYSTEM = {"role": "system", "content": "Answer in one short sentence."}
_TOLERANCE = 0.1
"""The relative tolerance between a server's count and the usage of its answer. Some vendors say that their count is
only an estimate."""


class CountingTests(Abilities, ContentTests):
    """Tests of token counts.

    pytest skips the tests of `count_on_server` if the method is missing, and does not collect them if `lacks` names the method.
    """

    def test_count_tokens_grows_with_the_text(self) -> None:
        self.needs("count_tokens", plain=True)
        count = self.caller.provider.count_tokens
        text, longer = count("Hello world"), count("Hello world " * 50)
        messages = count([{"role": "user", "content": "Hello world"}])
        request = count(self.request("Hello world"))
        for number in (text, longer, messages, request):
            assert isinstance(number, TokenCount), "count_tokens must return a TokenCount, which has .exact"
            assert number > 0
            assert number.bound is None or number.bound >= number, "the bound must not be below the count"
            assert not number.exact or number.bound == number, "the bound of an exact count must be the count"
        assert longer > text
        assert messages >= text, "a message must have at least the tokens of its text"
        assert count("") == 0, "an empty text must have 0 tokens"

    def test_an_exact_count_equals_the_count_of_the_server(self) -> None:
        self.needs("count_tokens", plain=True)
        for text in ("Hello world", *TEXTS.values()):
            counted = self.caller.provider.count_tokens(self.request(text))
            used = self._answer(text).usage.input_tokens
            fits = counted == used if counted.exact else used <= (counted.bound or used)
            assert fits, f"{text!r} has {used} tokens, counted as {counted!r}"

    def test_count_body_equals_count_tokens_of_the_request(self) -> None:
        self.needs("count_body", plain=True)
        request = self.request("Hello world", temperature=0.5)
        count_body = self.caller.provider.count_body
        number, again = count_body(request.body()), self.caller.provider.count_tokens(request)
        assert isinstance(number, TokenCount), "count_body must return a TokenCount, which has .exact"
        assert (number, number.exact) == (again, again.exact), (
            "count_body of a chat's body must equal count_tokens of its request"
        )
        for odd in ({}, {"model": None}, {"input": None}, {"messages": 7}, {"input": [7, {"type": 7}]}):
            assert count_body({"model": self.model, **odd}) >= 0, "count_body must accept any recorded body"

    @for_ability("count_on_server")
    def test_a_count_of_the_server_covers_the_whole_request(self) -> None:
        self.needs("count_on_server")
        user = {"role": "user", "content": "Hello"}
        short, more = self._count(self.request("Hello")), self._count(self.request([_SYSTEM, user]))
        assert short > 0, "count_on_server must return a number greater than 0"
        assert more > short, "count_on_server must count every message"
        assert self._count(self.request("Hello", tools=[TOOL])) > short, (
            "count_on_server must count the tools"
        )
        long, longer = (self._count(self.request("Hello " * words)) for words in (200, 400))
        assert longer > long > more, "a longer text must have more tokens"

    @for_ability("count_on_server")
    def test_a_count_of_the_server_is_near_the_usage_of_the_answer(self) -> None:
        self.needs("count_on_server")
        for text in TEXTS.values():
            counted, used = self._count(self.request(text)), self._answer(text).usage.input_tokens
            assert abs(counted - used) <= 2 + _TOLERANCE * used, (
                f"{text!r:.60} has {used} tokens in the usage, but count_on_server returned {counted}"
            )

    @for_ability("count_on_server")
    def test_a_count_of_the_server_neither_changes_the_request_nor_raises_foreign_errors(self) -> None:
        self.needs("count_on_server")
        request = self.request([dict(_SYSTEM), {"role": "user", "content": "Hello"}], tools=[TOOL])
        before = msgspec.json.encode(request)
        self._count(request)
        assert msgspec.json.encode(request) == before, "the count must not change the caller's request"
        self.works_or_refuses("count_on_server", self.request([]))

    @for_ability("count_on_server")
    @requires("broken")
    def test_a_count_of_the_server_generates_no_answer(
        self, broken: Any, request: pytest.FixtureRequest
    ) -> None:
        self.needs("count_on_server")
        with closing(self.another(broken)) as caller:
            caller.call("count_on_server", self.request("Hello"))
            caller.call("complete", self.request("Hello"))
        *counting, generating = request.getfixturevalue("upstream").requests
        assert generating.path not in [each.path for each in counting], (
            f"count_on_server must cost nothing, but it sent a request to {generating.path}, which generates an answer"
        )

    def _count(self, request: ChatRequest) -> TokenCount:
        __tracebackhide__ = True
        count = self.call("count_on_server", request)
        assert isinstance(count, TokenCount), (
            f"count_on_server must return a TokenCount, got {type(count).__name__}"
        )
        assert count.exact, "a count of the server must be exact: TokenCount(number, exact=True)"
        return count
