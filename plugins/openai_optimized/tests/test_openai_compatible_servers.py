"""Servers that speak the protocol in their own way: one row per difference, each read in four ways over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from llmcore.llm.assembly import Assembly
from llmcore.types import ChatRequest, Reply, Secret
from llmcore_openai_optimized.account import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from tests.kits.body_server import BodyServer
from tests.kits.compatible_rows import ROWS, Row

GUIDE: Final = Path(__file__).parents[3] / "docs" / "guides" / "openai.md"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture
def provider(row: Row) -> Iterator[OpenAIProvider]:
    server = BodyServer(row.sent, row.kind, row.status, leaves_open=row.leaves_open)
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=server.url))
    yield made
    made.close()
    server.close()


def ask(provider: OpenAIProvider, way: str) -> Reply:
    request = ChatRequest(model="m", messages=MESSAGES, timeout_s=30, idle_s=10)
    assembly = Assembly()

    async def collect() -> None:
        async for delta in provider.astream(request):
            assembly.add(delta)

    if way == "complete":
        return provider.complete(request)
    if way == "acomplete":
        return asyncio.run(provider.acomplete(request))
    if way == "stream":
        for delta in provider.stream(request):
            assembly.add(delta)
    else:
        asyncio.run(collect())
    assert assembly.is_finished
    return assembly.build_reply()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.server}: {row.does}", indirect=True)
def test_a_difference_changes_nothing_in_the_answer(row: Row, provider: OpenAIProvider, way: str) -> None:
    if row.error is not None:
        with pytest.raises(row.error) as caught:
            ask(provider, way)
        assert type(caught.value) is row.error
        assert caught.value.partial == row.partial
        return
    reply = ask(provider, way)
    assert (reply.text, reply.reasoning, reply.refusal) == (row.text, row.reasoning, row.refusal)
    assert reply.finish_reason == row.finish
    assert [(made.name, made.arguments) for made in reply.tool_calls] == list(row.calls)
    assert [made.index for made in reply.tool_calls] == list(range(len(row.calls)))
    message = reply.raw["choices"][0].get("message", {})
    assert row.raw.items() <= message.items()
    if row.calls:
        functions = [each["function"] for each in message["tool_calls"]]
        assert [(each["name"], each["arguments"]) for each in functions] == list(row.calls)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.server}: {row.does}")
def test_the_guide_lists_each_difference(row: Row) -> None:
    table = GUIDE.read_text(encoding="utf-8").partition("## Compatible servers")[2].partition("\n## ")[0]
    assert f"| {row.server} | {row.does} |" in table
