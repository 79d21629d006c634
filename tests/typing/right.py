"""Correct programs: mypy and pyright accept every line. They are not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from typing import Any, assert_type

import llmcore
from llmcore import (
    CacheManager,
    ChatOptions,
    Choice,
    Core,
    Delta,
    LLMClient,
    Message,
    Provider,
    Reply,
    SpeechOptions,
    WireEvent,
)
from llmcore.contracts import LLMProvider
from llmcore.hookspecs import Options
from llmcore.types import ChatRequest

cache = CacheManager("memory")


@dataclass
class City:
    name: str


class MyOptions(Options):
    api_key: str = ""


class MyProvider:
    def __init__(self, options: MyOptions) -> None:
        self.options = options

    def complete(self, request: ChatRequest) -> Reply:
        return Reply(text=request.model)


def create(options: MyOptions) -> MyProvider:
    return MyProvider(options)


bare: Provider = Provider(name="mine", create=create)
exact: Provider[MyOptions, LLMProvider] = Provider(name="mine", create=create, options=MyOptions)


def ask(core: Core) -> str:
    options: ChatOptions = {"temperature": 0.2, "max_tokens": 10, "user": "ann", "tags": ["nightly"]}
    messages: list[Message] = [{"role": "user", "content": "Hello"}]
    client: LLMClient = core.llm
    reply = client.chat("Hello", system="Be brief.", model="fast", cache="refresh", timeout="30s")
    reply = client.chat("Hello", **options)
    reply = client.chat(messages, extra_body={"top_k": 5})
    reply = client.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    client.chat("Hello", tool_choice="auto", tools=[{"type": "function", "function": {"name": "f"}}])
    assert_type(client.chat("Name a city", response_format=City).parsed, City)
    client.chat("Name a city", response_format={"type": "json_object"})
    client.chat("Name some cities", response_format=list[City])
    assert_type(client.chat("Name some cities", response_format=list[City], repair=1).parsed, list[City])
    either: Reply[City | None] = client.chat("Name a city, or none", response_format=City | None)
    assert_type(either.parsed, City | None)
    picture = llmcore.image(b"...", detail="low")
    parts = [
        {"type": "text", "text": "What is this?"},
        picture,
        llmcore.audio("a.wav"),
        llmcore.file("a.pdf", name="b.pdf"),
    ]
    client.chat([{"role": "user", "content": parts}])
    return reply.text


async def aask(core: Core) -> Reply:
    assert_type((await core.llm.achat("Name a city", response_format=City)).parsed, City)
    async for delta in core.llm.astream("Hello", seed=1):
        piece: Delta = delta
        assert_type(piece.text, str)
    return await core.llm.achat("Hello")


async def send(core: Core) -> bytes:
    body = {"model": "fast", "messages": [{"role": "user", "content": "Hello"}], "n": 2}
    reply: Reply = core.llm.send(body, api="chat", model="fast", user="ann", tags="nightly", timeout="30s")
    reply = await core.llm.asend(body, cache="refresh")
    assert_type(reply.choices[1], Choice)
    for event in core.llm.send_stream(body):
        if event.delta is not None:
            assert_type(event.delta.choice, int)
    async for event in core.llm.asend_stream(body):
        assert_type(event, WireEvent)
    return reply.body


def read(core: Core) -> Iterator[str]:
    for delta in core.llm.stream("Hello", stop=["."]):
        yield delta.text


def speak(core: Core) -> bytes:
    core.usage.by("day", since="7d")
    options: SpeechOptions = {"format": "wav", "speed": 1.1, "stability": 0.5}
    own: dict[str, Any] = {"loud": True}
    core.voice.synthesize("Hello", **own)
    assert_type(next(core.voice.stream("Hello", **options)), bytes)
    return core.voice.synthesize("Hello", format="mp3", stability=0.5, speed=1.1).audio


class Service:
    @classmethod
    @cache.cached(ttl="1h")
    def load(cls, number: int) -> str:
        return str(number)

    @cache.cached()
    def method(self, number: int) -> str:
        return str(number)

    @cache.cached()
    async def coroutine(self, number: int) -> str:
        return str(number)


@cache.cached()
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@cache.cached()
async def anumbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def use(service: Service) -> None:
    assert_type(Service.load(1), str)
    assert_type(service.load(1), str)
    assert_type(service.method(1), str)
    assert_type(await service.coroutine(1), str)
    service.method.invalidate(service, 1)
    for number in numbers(3):
        assert_type(number, int)
    async for number in anumbers(3):
        assert_type(number, int)


def main() -> None:
    with llmcore.load() as core:
        print(ask(core))
