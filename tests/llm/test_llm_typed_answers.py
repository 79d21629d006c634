"""Answers of the declared type: lists and unions of types, and `repair=`, which asks again when an answer does not fit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, TypedDict

import hypothesis
import msgspec
import pydantic
import pytest
from hypothesis import strategies as st

import llmcore
from llmcore.core import Core
from llmcore.errors import BadRequest, BudgetExceeded, MalformedReply
from llmcore.llm.answer_types import AnswerType
from llmcore.llm.structured_output import make_wire_format
from llmcore_testing.simulator import Simulator


@dataclasses.dataclass
class City:
    name: str
    people: int


@dataclasses.dataclass
class River:
    name: str
    length_km: float


class Hill(msgspec.Struct):
    name: str
    height_m: int


class Lake(pydantic.BaseModel):
    name: str
    depth_m: int


class Road(TypedDict):
    name: str
    lanes: int


PARIS = {"name": "Paris", "people": 2_100_000}
SEINE = {"name": "Seine", "length_km": 777.5}

ANSWERS: list[tuple[Any, Any, Any]] = [
    (City, PARIS, City("Paris", 2_100_000)),
    (Hill, {"name": "Etna", "height_m": 3357}, Hill("Etna", 3357)),
    (Lake, {"name": "Como", "depth_m": 410}, Lake(name="Como", depth_m=410)),
    (Road, {"name": "A1", "lanes": 6}, {"name": "A1", "lanes": 6}),
    (list[City], {"value": [PARIS, PARIS]}, [City("Paris", 2_100_000)] * 2),
    (list[City], [PARIS], [City("Paris", 2_100_000)]),
    (list[Lake], {"value": [{"name": "Como", "depth_m": 410}]}, [Lake(name="Como", depth_m=410)]),
    (list[int], {"value": [1, 2]}, [1, 2]),
    (City | River, {"value": SEINE}, River("Seine", 777.5)),
    (City | River, SEINE, River("Seine", 777.5)),
    (City | Lake | None, {"value": {"name": "Como", "depth_m": 410}}, Lake(name="Como", depth_m=410)),
    (City | None, {"value": None}, None),
    (City | None, {"value": PARIS}, City("Paris", 2_100_000)),
    (list[City | River], {"value": [SEINE, PARIS]}, [River("Seine", 777.5), City("Paris", 2_100_000)]),
    (list[Hill | Road], {"value": [{"name": "A1", "lanes": 6}]}, [{"name": "A1", "lanes": 6}]),
    (list[list[Literal["a", "b"]]], {"value": [["a"], []]}, [["a"], []]),
]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(models=["tiny", "small"]) as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    with open_core(upstream) as core:
        yield core


def open_core(upstream: Simulator, **more: Any) -> Core:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    prices = {"openai:tiny": {"input": 100, "output": 100}}
    llm = {"provider": "openai", "model": "tiny", "openai": openai}
    return llmcore.load({"llm": llm, "cache": {"provider": "memory"}, "prices": prices, **more})


@pytest.mark.parametrize(("kind", "answer", "parsed"), ANSWERS)
def test_an_answer_is_parsed_into_its_type(
    kind: Any, answer: Any, parsed: Any, core: Core, upstream: Simulator
) -> None:
    upstream.replies(json.dumps(answer))
    assert core.llm.chat("Which?", response_format=kind).parsed == parsed
    again = core.llm.chat("Which?", response_format=kind)
    assert (again.parsed, again.cached) == (parsed, True)


@pytest.mark.parametrize("kind", [row[0] for row in ANSWERS])
def test_every_type_is_a_strict_schema_with_an_object_at_its_root(kind: Any) -> None:
    wire, _ = make_wire_format(kind)
    sent = wire["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"]["type"] == "object"
    assert sent["schema"]["additionalProperties"] is False
    assert set(sent["name"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_an_answer_that_fits_no_member_is_reported_with_each_reason(core: Core, upstream: Simulator) -> None:
    upstream.replies('{"value": {"name": "Seine"}}')
    with pytest.raises(MalformedReply) as caught:
        core.llm.chat("Which?", response_format=City | River)
    text = str(caught.value)
    assert "not a City: Object missing required field `people`" in text
    assert "not a River: Object missing required field `length_km`" in text


def test_two_types_of_one_name_are_refused() -> None:
    other = dataclasses.make_dataclass("City", [("mayor", str)])
    with pytest.raises(BadRequest, match="two of its types are called City") as caught:
        make_wire_format(list[City | other])  # type: ignore[valid-type]
    assert caught.value.code == "LC307"


def test_an_instance_in_place_of_its_type_says_so() -> None:
    with pytest.raises(BadRequest) as caught:
        make_wire_format(City("Paris", 1))
    assert caught.value.fix == "chat(..., response_format=type(value))"


CITIES = st.builds(City, st.text(), st.integers(-(2**53), 2**53))
RIVERS = st.builds(River, st.text(), st.floats(allow_nan=False, allow_infinity=False))


@hypothesis.given(st.lists(st.one_of(CITIES, RIVERS)))
def test_answers_with_strict_schemas_are_parsed(values: list[City | River]) -> None:
    answer = AnswerType(list[City | River])
    text = msgspec.json.encode({"value": values}).decode()
    assert answer.parse(text) == values


# -- repair


def ask(core: Core, way: str, **given: Any) -> Any:
    llm: Any = core.llm
    given = {"response_format": City, "max_tokens": 50} | given
    return asyncio.run(llm.achat("Which?", **given)) if way == "achat" else llm.chat("Which?", **given)


BAD, GOOD = '{"name": "Paris"}', json.dumps(PARIS)


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_a_repair_shows_the_model_its_answer_and_the_fault(way: str, core: Core, upstream: Simulator) -> None:
    upstream.replies(BAD, GOOD)
    reply = ask(core, way, repair=1)
    assert reply.parsed == City("Paris", 2_100_000)
    first, second = (request.body["messages"] for request in upstream.requests)
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": BAD}
    assert second[-1]["role"] == "user"
    assert "Object missing required field `people`" in second[-1]["content"]


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_a_repaired_answer_is_cached_under_the_key_of_the_question(
    way: str, core: Core, upstream: Simulator
) -> None:
    upstream.replies(BAD, GOOD)
    ask(core, way, repair=1)
    for repair in (0, 1):
        reply = ask(core, way, repair=repair)
        assert (reply.parsed, reply.cached) == (City("Paris", 2_100_000), True)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("way", ["chat", "achat"])
def test_an_answer_that_never_fits_is_neither_returned_nor_cached(
    way: str, core: Core, upstream: Simulator
) -> None:
    upstream.replies(BAD, BAD, GOOD)
    with pytest.raises(MalformedReply) as caught:
        ask(core, way, repair=1)
    assert caught.value.partial == BAD
    assert "the model was asked 2 times (repair=1)" in caught.value.notes
    assert not ask(core, way).cached
    assert len(upstream.requests) == 3


def test_without_repair_the_error_proposes_it(core: Core, upstream: Simulator) -> None:
    upstream.replies(BAD)
    with pytest.raises(MalformedReply) as caught:
        ask(core, "chat")
    assert caught.value.fix == "chat(..., response_format=City, repair=1)"
    assert caught.value.where == "response_format=City"
    assert len(upstream.requests) == 1


def test_each_request_is_booked(core: Core, upstream: Simulator) -> None:
    upstream.replies(BAD, GOOD)
    before = core.usage.totals()
    reply = ask(core, "chat", repair=1, user="ann", tags="typed")
    after = core.usage.totals()
    assert after.calls - before.calls == 2
    rows = [row for row in core.usage.export() if row["user"] == "ann"]
    assert len(rows) == 2
    assert sum((Decimal(str(row["cost"])) for row in rows), Decimal(0)) == after.cost - before.cost
    assert reply.cost is not None
    assert after.cost - before.cost > reply.cost


def test_a_repair_needs_room_in_the_budget(upstream: Simulator) -> None:
    upstream.replies(BAD, GOOD)
    with open_core(upstream, budgets=[{"limit": "0.05 USD", "tag": "typed"}]) as core:
        with pytest.raises(BudgetExceeded) as caught:
            ask(core, "chat", repair=1, tags="typed", max_tokens=80)
        assert caught.value.spent
    assert len(upstream.requests) == 1


def test_an_answer_that_was_cut_is_not_asked_for_again(scripted: Any) -> None:
    scripted.script.append(llmcore.Reply(text='{"name": "Par', finish_reason="length"))
    llm = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}).llm
    with pytest.raises(MalformedReply, match="cut off by max_tokens"):
        llm.chat("Which?", response_format=City, repair=3)
    assert len(scripted.requests) == 1


def test_a_repair_has_the_deadline_of_the_call(scripted: Any) -> None:
    llm = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}).llm
    scripted.script += [
        llmcore.Reply(text=BAD, finish_reason="stop"),
        llmcore.Reply(text=GOOD, finish_reason="stop"),
    ]
    llm.chat("Which?", response_format=City, repair=1, timeout=500)
    first, second = scripted.requests
    assert second.timeout_s < first.timeout_s <= 500


def test_concurrent_callers_share_one_repair(core: Core, upstream: Simulator) -> None:
    upstream.replies(BAD, GOOD)

    async def ask_many() -> list[Any]:
        return await asyncio.gather(
            *(core.llm.achat("Which?", response_format=City, repair=1) for _ in range(20))
        )

    assert {reply.parsed.name for reply in asyncio.run(ask_many())} == {"Paris"}
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"repair": -1}, "repair must be a whole number from 0 to 5, got -1"),
        ({"repair": "once"}, "got 'once'"),
        ({"repair": 99}, "got 99"),
        ({"repair": 1, "response_format": None}, "repair needs an answer that is parsed"),
        ({"repair": 1, "response_format": {"type": "json_object"}}, "repair needs an answer that is parsed"),
    ],
)
def test_a_repair_that_makes_no_sense_is_refused(
    given: Any, said: str, core: Core, upstream: Simulator
) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        ask(core, "chat", **given)
    assert caught.value.where == "repair"
    assert upstream.requests == []


def test_a_stream_is_not_repaired(core: Core) -> None:
    with pytest.raises(BadRequest, match="repair needs an answer that is parsed"):
        next(core.llm.stream("Which?", response_format=City, repair=1))
