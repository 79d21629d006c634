"""Tests of a language model with long and unusual requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec
import pytest

from llmcore.errors import LLMCoreError
from llmcore.types import ChatRequest, Delta, Message, Reply, Usage
from llmcore_testing.conformance.broken_upstream import BrokenUpstream
from llmcore_testing.conformance.llm_samples import TOOL
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.simulator import RecordedRequest, Simulator

__all__ = ["ContentTests"]

_WORDS: Final = 200
_LONG: Final = " ".join(["first7f", *(f"word{number}" for number in range(_WORDS)), "last7f"])
_SPACES: Final = "  two before\n\n\tand a tab,  two between \u00a0 and after  \n"
_UNICODE: Final = "Gr\u00fc\u00dfe, \u4f60\u597d, \U0001f468\u200d\U0001f469, \u0645\u0631\u062d\u0628\u0627"
_CONVERSATION: Final[list[Message]] = [
    {"role": "system", "content": "marker-system"},
    {"role": "user", "content": "marker-first"},
    {"role": "assistant", "content": "marker-answer"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "marker-part"}, {"type": "text", "text": "marker-other"}],
    },
    {"role": "assistant", "content": "marker-second"},
    {"role": "user", "content": "marker-last"},
]
_MARKERS: Final = (
    "marker-system", "marker-first", "marker-answer", "marker-part", "marker-other", "marker-second", "marker-last",
)  # fmt: skip
_MODEL: Final = "model-that-nobody-has-7f"


class ContentTests(BrokenUpstream):
    """Tests that check the request at `upstream` need the fixture `broken`; all other tests need only `provider`."""

    deterministic: ClassVar[bool]
    model: ClassVar[str]

    def request(self, content: Any, **parameters: Any) -> ChatRequest:
        """Return a request. *content* is the user's text or the list of messages."""
        raise NotImplementedError

    def test_a_long_answer_is_streamed_to_its_end(self) -> None:
        self.needs("stream")
        reply, pieces = self._answer(_LONG), self._collect(_LONG)
        text = "".join(piece.text for piece in pieces)
        for marker in ("first7f", "last7f"):
            assert (marker in text) == (marker in reply.text) or not self.deterministic, (
                f"complete and stream must have the same beginning and end, differ in {marker!r}"
            )
        if self.deterministic:
            assert text == reply.text, (
                f"the joined deltas must have {len(reply.text)} characters, got {len(text)}"
            )

    def test_white_space_is_streamed_as_it_is(self) -> None:
        self.needs("stream")
        if self.deterministic:
            text = "".join(piece.text for piece in self._collect(_SPACES))
            assert text == self._answer(_SPACES).text, (
                "a stream must preserve white space, also between deltas"
            )

    def test_usage_grows_with_the_answer(self) -> None:
        short, long = self._answer("Hi"), self._answer(_LONG)
        if len(long.text) > 4 * len(short.text):
            assert long.usage.output_tokens > short.usage.output_tokens, (
                f"output_tokens must grow with the answer: they are not higher for {len(long.text)} characters than for {len(short.text)}"
            )

    def test_the_usage_of_a_stream_is_that_of_the_answer(self) -> None:
        self.needs("stream")
        if not self.deterministic:
            return
        whole = self._answer(_LONG).usage
        usages = [piece.usage for piece in self._collect(_LONG) if piece.usage is not None]
        if whole.estimated or any(each.estimated for each in usages):  # the server reported no usage
            return
        assert [each.output_tokens for each in usages] == [whole.output_tokens], (
            "the usage of a stream must equal that of complete"
        )

    def test_the_price_of_an_unknown_model_is_unknown(self) -> None:
        price, usage = getattr(self.caller.provider, "price", None), Usage(input_tokens=10, output_tokens=10)
        if price is None or not price(self.model, usage):  # the backend has no prices, or answers are free
            return
        found = price(_MODEL, usage)
        assert found is None or found > 0, "the price of an unknown model must be None, not 0"

    @pytest.mark.parametrize("way", ["complete", "stream"])
    @requires("broken")
    def test_the_server_gets_every_message(
        self, way: str, broken: Any, request: pytest.FixtureRequest
    ) -> None:
        sent = self._send(way, broken, request, self.request(_CONVERSATION))
        if sent is None:
            return
        missing = [marker for marker in _MARKERS if marker not in _join_texts(sent)]
        assert not missing, f"{way} must send every message, the request lacks {', '.join(missing)}"

    @pytest.mark.parametrize("text", [_LONG * 50, _SPACES, _UNICODE], ids=["long", "spaces", "unicode"])
    @pytest.mark.parametrize("way", ["complete", "stream"])
    @requires("broken")
    def test_the_server_gets_the_text_as_it_is(
        self, way: str, text: str, broken: Any, request: pytest.FixtureRequest
    ) -> None:
        sent = self._send(way, broken, request, self.request(text))
        if sent is not None:
            assert text in _join_texts(sent), f"{way} must send the text unchanged"

    @pytest.mark.parametrize("way", ["complete", "stream"])
    @requires("broken")
    def test_the_server_gets_tools_and_parameters(
        self, way: str, broken: Any, request: pytest.FixtureRequest
    ) -> None:
        asked = self.request("Weather in Oslo?", tools=[TOOL], max_tokens=1234)
        sent = self._send(way, broken, request, asked)
        if sent is not None:
            assert "get_weather" in _join_texts(sent), f"{way} must send the tools or raise an error"
            assert 1234 in _find_values(sent.body), f"{way} must send max_tokens or raise an error"

    @pytest.mark.parametrize("way", ["complete", "stream"])
    @requires("broken")
    def test_the_server_gets_the_model_of_the_request(
        self, way: str, broken: Any, request: pytest.FixtureRequest
    ) -> None:
        asked = msgspec.structs.replace(self.request("Hello"), model=_MODEL)
        sent = self._send(way, broken, request, asked)
        if sent is not None:
            assert _MODEL in sent.path + _join_texts(sent), (
                f"{way} must send the model of the request or raise an error"
            )

    def _send(
        self, way: str, broken: Any, request: pytest.FixtureRequest, asked: ChatRequest
    ) -> RecordedRequest | None:
        """Send *asked* to `upstream`. Return the received request; None if the backend rejected *asked* or lacks the method *way*."""
        __tracebackhide__ = True
        upstream = request.getfixturevalue("upstream")
        assert isinstance(upstream, Simulator), "the fixture `upstream` must be a Simulator"
        caller = self.another(broken)
        try:
            if not caller.has(way):
                return None
            if way == "complete":
                caller.call(way, asked)
            else:
                caller.collect(way, asked)
        except LLMCoreError:  # the backend does not support such a request
            return None
        finally:
            caller.close()
        assert len(upstream.requests) == 1, f"one call must send one request, sent {len(upstream.requests)}"
        return upstream.requests[0]

    def _answer(self, text: str) -> Reply:
        __tracebackhide__ = True
        reply = self.call("complete", self.request(text))
        assert isinstance(reply, Reply), f"complete must return a Reply, got {type(reply).__name__}"
        return reply

    def _collect(self, text: str) -> list[Delta]:
        return self.collect("stream", self.request(text))


def _find_values(body: Any) -> Iterator[Any]:
    """Yield every value of a JSON document."""
    if isinstance(body, dict):
        for value in body.values():
            yield from _find_values(value)
    elif isinstance(body, list):
        for value in body:
            yield from _find_values(value)
    else:
        yield body


def _join_texts(sent: RecordedRequest) -> str:
    """Return all texts in the body, joined."""
    texts = [value for value in _find_values(sent.body) if isinstance(value, str)]
    return "\n".join(texts) if texts else sent.raw.decode(errors="replace")
