"""Batches with `response_format=` as a type: answers are instances, in both lanes, and after a resumption."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypedDict

import pydantic
import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import BadRequest, MalformedReply
from llmcore_testing.simulator import Simulator


@dataclasses.dataclass
class City:
    name: str


class CityModel(pydantic.BaseModel):
    name: str


class CityDict(TypedDict):
    name: str


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def upstream(server: Simulator) -> Simulator:
    server.reset()
    return server


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    llm = {"provider": "openai", "model": "gpt-4o-mini", "openai": openai}
    with llmcore.load({"llm": llm, "cache": {"provider": "memory"}}) as core:
        yield core


def make_name(body: Any) -> str:
    """Answer with the last word of the prompt as the name; a prompt with "bad" gets a number."""
    word = body["messages"][-1]["content"].split()[-1]
    return '{"name": 7}' if word == "bad" else f'{{"name": "{word}"}}'


@pytest.mark.parametrize("lane", ["now", "queue"])
@pytest.mark.parametrize("kind", [City, CityModel, CityDict])
def test_answers_are_instances_also_after_a_resumption(
    core: Core, upstream: Simulator, lane: Any, kind: Any
) -> None:
    upstream.replies(*[make_name] * 3)
    items = ["city Rome", "city Oslo", "city bad", "city Rome"]
    run = core.llm.batch(items, lane=lane, response_format=kind, max_tokens=30)
    found = {item.index: item for item in run}
    rome, oslo = kind(name="Rome"), kind(name="Oslo")
    assert [found[index].reply.parsed for index in (0, 1, 3)] == [rome, oslo, rome]  # type: ignore[union-attr]
    error = found[2].error
    assert isinstance(error, MalformedReply)
    assert (error.code, error.partial) == ("LC407", '{"name": 7}')
    assert (run.summary.done, run.summary.failed) == (3, 1)
    upstream.replies(lambda _: '{"name": "Good"}')
    before = upstream.counts["chat"] + upstream.counts["batch_items"]
    again = core.llm.resume_batch(run.id, response_format=kind)
    parsed = [item.reply and item.reply.parsed for item in again.results()]
    assert parsed == [rome, oslo, kind(name="Good"), rome], "only the answer that did not fit is asked again"
    assert upstream.counts["chat"] + upstream.counts["batch_items"] == before + 1
    texts = [item.reply and item.reply.parsed for item in core.llm.resume_batch(run.id)]
    assert texts == [None] * 4, "without the type, answers are texts"


def test_an_item_cannot_have_another_format_than_the_type(core: Core, upstream: Simulator) -> None:
    upstream.replies(make_name)
    other = {"prompt": "city Paris", "response_format": {"type": "json_object"}}
    found = list(core.llm.batch(["city Rome", other], response_format=City).results())
    assert found[0].reply is not None
    assert found[0].reply.parsed == City("Rome")
    assert isinstance(found[1].error, BadRequest)
    assert (found[1].error.code, found[1].error.where) == ("LC307", "item 1")
    assert upstream.counts["chat"] == 1


def test_a_type_without_a_schema_is_rejected_at_once(core: Core) -> None:
    with pytest.raises(BadRequest, match="response_format"):
        core.llm.batch(["a"], response_format=complex)


def test_a_plain_schema_is_sent_in_the_vendors_form(core: Core, upstream: Simulator) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    upstream.replies(make_name)
    (item,) = core.llm.batch(["city Rome"], response_format=schema)
    assert item.reply is not None
    assert item.reply.parsed is None
    assert upstream.requests[0].body["response_format"]["json_schema"]["schema"] == schema
