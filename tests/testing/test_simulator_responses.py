"""The simulated Responses API as the real OpenAI client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from llmcore_testing import Fault, Simulator

MODEL = "gpt-5.6-luna"
ADD: Any = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "strict": False,
}


class City(BaseModel):
    name: str


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(upstream: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="sk-any", max_retries=0) as made:
        yield made


def test_a_response_has_the_content_of_the_chat(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Tell me of rain", instructions="Be brief.")
    assert response.output_text == "This is a simulated answer to: Tell me of rain"
    assert (response.status, response.model, response.instructions) == ("completed", MODEL, "Be brief.")
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_stream_has_the_events_of_the_vendor(client: openai.OpenAI) -> None:
    summary: Any = {"summary": "auto"}
    events = list(
        client.responses.create(model=MODEL, input="Tell me of rain", reasoning=summary, stream=True)
    )
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    thoughts = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert len(texts) > 1
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "".join(texts)
    assert "".join(thoughts)
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.slow
def test_the_vendor_s_own_helper_assembles_the_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="Add 1", tools=[ADD], tool_choice="required") as stream:
        response = stream.get_final_response()
    (call,) = response.output
    assert (call.type, getattr(call, "name", None)) == ("function_call", "add")


def test_structured_output_is_parsed(client: openai.OpenAI) -> None:
    response = client.responses.parse(model=MODEL, input="Name a city", text_format=City)
    assert isinstance(response.output_parsed, City)


def test_a_limit_leaves_the_response_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model=MODEL, input="Tell me of rain", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_scripted_output_and_faults(client: openai.OpenAI, upstream: Simulator) -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    upstream.replies({"output": [item]})
    assert client.responses.create(model=MODEL, input="x").output[0].type == "web_search_call"
    upstream.fail(Fault.status(429))
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model=MODEL, input="x")
    upstream.fail(Fault.missing_usage())
    assert client.responses.create(model=MODEL, input="x").usage is None
    with pytest.raises(openai.BadRequestError, match="'input'"):
        client.responses.create(model=MODEL)
