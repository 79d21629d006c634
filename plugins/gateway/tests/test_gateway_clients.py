"""The vendors' SDKs: over HTTP, and in one process with a Core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest

import llmcore
from llmcore.core import Core
from llmcore_gateway import async_http_client, http_client
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.gateway import MODEL, Served, make_config, serving

QUESTION: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
ANSWER = "This is a simulated answer to: Hello"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def gateway(upstream: Simulator, tmp_path: Path) -> Iterator[Served]:
    with serving(make_config(upstream, tmp_path)) as served:
        yield served


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[Core]:
    with llmcore.load(make_config(upstream, tmp_path)) as core:
        yield core


@pytest.fixture(params=["served", "in process"])
def client(request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    if request.param == "served":
        url = f"{request.getfixturevalue('gateway').url}/v1"
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            yield client
    else:
        http = http_client(request.getfixturevalue("core"))
        with openai.OpenAI(api_key="none", max_retries=0, http_client=http) as client:
            yield client


def test_a_chat(client: openai.OpenAI, upstream: Simulator) -> None:
    for _ in range(2):
        answer = client.chat.completions.create(model="fast", messages=QUESTION)
        assert answer.choices[0].message.content == ANSWER
    assert upstream.counts["requests"] == 1, "the second came from the cache"


def test_a_stream(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == ANSWER
    assert chunks[-1].usage is not None


def test_tools(client: openai.OpenAI, upstream: Simulator) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    upstream.replies({"tool_calls": [call]}, {"tool_calls": [call]})
    tool: openai.types.chat.ChatCompletionToolParam = {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object"}},
    }
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[tool])
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[tool], seed=2) as stream:
        found = stream.get_final_completion().choices[0].message.tool_calls
    assert found is not None
    assert found[0].function.name == "weather"


@pytest.mark.slow
def test_responses(client: openai.OpenAI) -> None:
    assert client.responses.create(model=MODEL, input="Hello").output_text == ANSWER
    with client.responses.stream(model=MODEL, input="Hello there") as stream:
        assert stream.get_final_response().output_text == f"{ANSWER} there"


def test_models(client: openai.OpenAI) -> None:
    assert client.models.retrieve("fast").id == "fast"
    assert "fast" in {
        model.id for model in client.models.list()
    } or client._client._transport.__module__.startswith("llmcore")


def test_errors_have_the_classes_of_the_sdk(client: openai.OpenAI, upstream: Simulator) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=[])
    upstream.fail(Fault.status(429, retry_after=3))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert caught.value.response.headers["retry-after"] == "3"
    upstream.fail(Fault.status(500))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    upstream.fail(Fault.cut_stream(after=3))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))


def test_a_wrong_key_is_an_authentication_error(gateway: Served) -> None:
    gateway.core.keys.create("ann")
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=MODEL, messages=QUESTION)
    other = anthropic.Anthropic(base_url=gateway.url, api_key="sk-wrong", max_retries=0)
    with other, pytest.raises(anthropic.AuthenticationError):
        other.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "Hello"}])


def test_the_async_client_in_one_process(core: Core, upstream: Simulator) -> None:
    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(api_key="none", http_client=async_http_client(core)) as client:
            answer = await client.chat.completions.create(model=MODEL, messages=QUESTION)
            stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model=MODEL, messages=[])
            return answer.choices[0].message.content, "".join(pieces)

    assert asyncio.run(ask()) == (ANSWER, ANSWER)
    assert upstream.counts["requests"] == 1


@pytest.mark.slow
def test_pydantic_ai_in_one_process(core: Core) -> None:
    from pydantic_ai import Agent  # imported here, because only this test needs it
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def ask() -> str:
        async with openai.AsyncOpenAI(api_key="none", http_client=async_http_client(core)) as client:
            model = OpenAIChatModel("fast", provider=OpenAIProvider(openai_client=client))
            return (await Agent(model).run("Hello")).output

    assert asyncio.run(ask()) == ANSWER


def test_a_stream_in_one_process_may_be_left(core: Core, upstream: Simulator) -> None:
    with openai.OpenAI(api_key="none", http_client=http_client(core)) as client:
        for number in range(3):
            stream = client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, seed=number)
            next(stream)
            stream.close()
    assert upstream.wait_for(lambda: upstream.in_flight == 0, 60)
    assert not [row for row in core.usage.open() if row["state"] == "open"]
