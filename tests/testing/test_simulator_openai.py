"""The simulator with the real OpenAI client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam
from pydantic import BaseModel, Field

from llmcore_testing import Simulator

MODEL = "gpt-4o-mini"
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(upstream: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.base_url, api_key="sk-any", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, text: str = "Write a haiku about rain", **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def test_a_chat_is_answered_in_words_that_come_from_the_question(client: openai.OpenAI) -> None:
    first, again, other = ask(client), ask(client), ask(client, "Something else")
    assert first.choices[0].message.content == "This is a simulated answer to: Write a haiku about rain"
    assert again.choices[0].message.content == first.choices[0].message.content
    assert other.choices[0].message.content != first.choices[0].message.content
    assert first.choices[0].finish_reason == "stop"
    assert first.model == MODEL
    assert first.id != again.id
    assert first.service_tier == "default"
    assert first.system_fingerprint


def test_long_questions_with_the_same_beginning_are_answered_apart(client: openai.OpenAI) -> None:
    one, other = ask(client, "x" * 5000 + "a"), ask(client, "x" * 5000 + "b")
    assert one.choices[0].message.content != other.choices[0].message.content
    assert len(one.choices[0].message.content) < 500


def test_usage_adds_up_and_has_its_details(client: openai.OpenAI) -> None:
    usage = ask(client).usage
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_a_stream_says_the_same_as_the_whole_answer_in_several_pieces(client: openai.OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(filter(None, said)) == whole.choices[0].message.content
    assert len(list(filter(None, said))) >= 3
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_include_usage_has_none(client: openai.OpenAI) -> None:
    assert all(chunk.usage is None and chunk.choices for chunk in ask(client, stream=True))


def test_the_async_client_gets_the_same(upstream: Simulator) -> None:
    async def talk() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-any", max_retries=0) as client:
            whole = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}]
            )
            stream = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(pieces)

    whole, streamed = asyncio.run(talk())
    assert whole == streamed == "This is a simulated answer to: Hi"


@pytest.mark.slow
def test_256_calls_at_once_are_all_in_flight_and_all_answered(upstream: Simulator) -> None:
    async def talk() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as client:
            upstream.hold()
            tasks = [
                asyncio.create_task(
                    client.chat.completions.create(
                        model=MODEL, messages=[{"role": "user", "content": str(number)}]
                    )
                )
                for number in range(256)
            ]
            await asyncio.to_thread(upstream.wait_for_requests, 256, 60)
            upstream.release()
            return [(await task).choices[0].message.content for task in tasks]

    answers = asyncio.run(talk())
    assert answers == [f"This is a simulated answer to: {number}" for number in range(256)]
    assert upstream.max_in_flight == 256
    assert upstream.in_flight == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_tool_is_called_with_arguments_that_fit(client: openai.OpenAI, *, stream: bool) -> None:
    if stream:
        with client.chat.completions.stream(
            model=MODEL,
            messages=[{"role": "user", "content": "Weather?"}],
            tools=[WEATHER],
            tool_choice="required",
        ) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = ask(client, tools=[WEATHER], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "city", "days": 2}
    assert call.id
    assert answer.choices[0].finish_reason == "tool_calls"


def test_a_named_tool_is_the_one_that_is_called(client: openai.OpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "time"}}
    named = {"type": "function", "function": {"name": "time"}}
    choice = ask(client, tools=[WEATHER, other], tool_choice=named).choices[0]
    assert [call.function.name for call in choice.message.tool_calls] == ["time"]


def test_tools_are_not_called_unasked(client: openai.OpenAI) -> None:
    assert ask(client, tools=[WEATHER]).choices[0].message.tool_calls is None


def test_the_answer_after_a_tool_speaks_of_its_result(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
        ],
    )
    assert "21 degrees" in (answer.choices[0].message.content or "")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    name: str
    weight: float = Field(gt=0.5, lt=0.75)
    count: int = Field(ge=7, multiple_of=5)
    parts: list[Part]
    above: Part | None


class Machine(BaseModel):
    colour: Colour
    ready: bool
    main: Part
    tags: list[str] = Field(min_length=2)
    size: int | str
    nothing: None


def test_structured_output_fits_a_nested_and_recursive_schema(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "A machine"}], response_format=Machine
    )
    machine = answer.choices[0].message.parsed
    assert machine is not None
    assert machine.colour is Colour.RED
    assert len(machine.tags) == 2
    assert machine.main.count == 10


def test_json_mode_answers_json(client: openai.OpenAI) -> None:
    answer = ask(client, "As json please", response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {"answer": "As json please"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_the_limit(client: openai.OpenAI, name: str) -> None:
    few: dict[str, Any] = {name: 3}
    many: dict[str, Any] = {name: 4000}
    answer = ask(client, **few)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert ask(client, **many).choices[0].finish_reason == "stop"


def test_a_stop_word_ends_the_answer_before_itself(client: openai.OpenAI) -> None:
    assert ask(client, stop=[" answer"]).choices[0].message.content == "This is a simulated"


def test_n_choices_come_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = [choice.message.content for choice in ask(client, n=3).choices]
    streamed = ["", "", ""]
    for chunk in ask(client, n=3, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert len(set(whole)) == 3
    assert streamed == whole


def test_models_are_listed_and_described(upstream: Simulator, client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve("meta/llama-9").id == "meta/llama-9"
    assert upstream.counts["models"] == 2


def test_only_the_given_models_exist() -> None:
    with (
        Simulator(models=["only"]) as upstream,
        openai.OpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["only"]
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client)
        assert caught.value.code == "model_not_found"


def test_only_the_given_keys_are_accepted() -> None:
    with (
        Simulator(api_keys={"sk-test"}) as upstream,
        openai.OpenAI(base_url=upstream.base_url, api_key="sk-wrong-and-secret-key", max_retries=0) as wrong,
        openai.OpenAI(base_url=upstream.base_url, api_key="sk-test", max_retries=0) as right,
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(wrong)
        assert caught.value.code == "invalid_api_key"
        assert "wrong-and-secret" not in str(caught.value)
        assert ask(right).choices


def test_embeddings_are_unit_vectors_and_the_same_for_the_same_text(client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="text-embedding-3-small", input=["one", "two", "one"])
    one, two, again = (entry.embedding for entry in made.data)
    assert len(one) == 1536
    assert sum(number * number for number in one) == pytest.approx(1)
    assert one == again != two
    plain = client.embeddings.create(model="m", input="one", dimensions=1536, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(one, abs=1e-6)
    assert len(client.embeddings.create(model="m", input=[1, 2, 3], dimensions=7).data[0].embedding) == 7


def test_azure_is_asked_by_deployment_key_and_version(upstream: Simulator) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=upstream.url, api_key="azure-key", api_version="2024-10-21", max_retries=0
    ) as client:
        answer = ask(client)
    request = upstream.requests[0]
    assert answer.choices[0].message.content
    assert request.path == f"/openai/deployments/{MODEL}/chat/completions"
    assert request.query == {"api-version": "2024-10-21"}
    assert request.headers["api-key"] == "azure-key"


def test_scripted_answers_come_in_their_order_then_the_usual_one(
    upstream: Simulator, client: openai.OpenAI
) -> None:
    upstream.replies(
        "Paris.",
        {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"choices": [{"index": 0, "message": {"content": "Whole."}, "finish_reason": "content_filter"}]},
        lambda body: f"{body['model']} was asked",
    )
    first, second, third, fourth, fifth = (ask(client) for _ in range(5))
    assert first.choices[0].message.content == "Paris."
    assert json.loads(second.choices[0].message.tool_calls[0].function.arguments) == {"city": "Rome"}
    assert second.choices[0].finish_reason == "tool_calls"
    assert third.choices[0].finish_reason == "content_filter"
    assert third.id
    assert third.usage.total_tokens > 0
    assert fourth.choices[0].message.content == f"{MODEL} was asked"
    assert fifth.choices[0].message.content.startswith("This is a simulated answer")


def test_a_permanent_reply_answers_everything() -> None:
    with (
        Simulator(reply="Yes.") as upstream,
        openai.OpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as other,
    ):
        assert [ask(other).choices[0].message.content for _ in range(3)] == ["Yes."] * 3


def test_an_invalid_scripted_answer_is_reported(upstream: Simulator, client: openai.OpenAI) -> None:
    upstream.replies({"choices": "nothing of the kind"})
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client)
    assert caught.value.code == "simulator_error"


def test_a_request_is_recorded_as_it_came_and_hides_its_key(
    upstream: Simulator, client: openai.OpenAI
) -> None:
    ask(client, temperature=0.5)
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-any"
    assert request.body["temperature"] == 0.5
    assert json.loads(request.raw) == request.body
    assert "sk-any" not in repr(request)
