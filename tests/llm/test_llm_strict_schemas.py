"""Types as response_format=: the schema keeps the rules of strict schemas, is sent as not strict, or is rejected."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

import llmcore
from llmcore.errors import BadRequest, MalformedReply
from llmcore.llm.structured_output import make_wire_format
from llmcore.types import Reply
from llmcore_testing.simulator.schema_samples import sample

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Plain:
    name: str
    people: int = 0
    mayor: str | None = None
    colour: Colour = Colour.RED
    level: Level | None = None
    choice: Literal["a", 1] | None = "a"
    day: dt.date | None = None
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


class Inner(pydantic.BaseModel):
    v: str = pydantic.Field(min_length=2, max_length=9)


class Described(pydantic.BaseModel):
    inner: Inner = pydantic.Field(description="the inner one")
    default: Inner = Inner(v="ab")
    properties: int = 1  # named as a keyword is
    required: str = "x"


class Node(pydantic.BaseModel):
    """A node."""

    value: int = pydantic.Field(ge=0, le=9, multiple_of=3)
    next: Node | None = None


class Holder(pydantic.BaseModel):
    node: Node = pydantic.Field(description="a recursive one", examples=[1])
    other: Node | None = pydantic.Field(default=None, description="another")


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    price: Decimal = Decimal(1)


class Owner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


class Bird(msgspec.Struct, tag=True):
    wings: int = 2


class Fish(msgspec.Struct, tag=True):
    fins: Annotated[int, msgspec.Meta(ge=1, description="how many")]


class Zoo(msgspec.Struct, rename="camel"):
    all_animals: list[Bird | Fish]
    unique: Annotated[set[str], msgspec.Meta(min_length=1)]
    code: Annotated[str, msgspec.Meta(pattern="^(?!x)", max_length=3)]


class Film(TypedDict):
    title: str
    year: NotRequired[int]


@dataclasses.dataclass
class Empty:
    pass


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


@dataclasses.dataclass
class Named:
    box: Box[int]


STRICT = (Plain, Tree, Described, Node, Holder, Owner, Zoo, Film, Empty, Named)


@dataclasses.dataclass
class Counts:
    counts: dict[str, int]


@dataclasses.dataclass
class Anything:
    value: Any


@dataclasses.dataclass
class Tuple:
    pair: tuple[int, str]


@dataclasses.dataclass
class Loose:
    items: list  # type: ignore[type-arg]


class Counted(pydantic.BaseModel):
    counts: dict[str, Inner]


LOOSE = (Counts, Anything, Tuple, Loose, Counted)


def find_faults(node: Any, path: str = "") -> Iterator[str]:  # noqa: C901 - a list of rules
    """Yield what breaks the rules of strict schemas."""
    if not isinstance(node, dict):
        yield f"{path}: no schema: {node!r}"
        return
    for name in ("oneOf", "allOf", "default", "discriminator", "examples", "uniqueItems", "minLength", "not"):
        if name in node:
            yield f"{path}: {name}"
    if "$ref" in node and len(node) > 1:
        yield f"{path}: something next to $ref"
    if not {"type", "anyOf", "$ref"} & node.keys():
        yield f"{path}: no type"
    if node.get("type") == "object":
        if node.get("additionalProperties") is not False:
            yield f"{path}: open"
        if node.get("required") != list(node["properties"]):
            yield f"{path}: not all required"
    for group in ("properties", "$defs"):
        for name, each in node.get(group, {}).items():
            yield from find_faults(each, f"{path}/{group}/{name}")
    for index, each in enumerate(node.get("anyOf", ())):
        yield from find_faults(each, f"{path}/anyOf/{index}")
    if node.get("type") == "array":
        yield from find_faults(node.get("items"), f"{path}/items")


def make_schema(kind: type) -> tuple[dict[str, Any], bool]:
    wire, asked = make_wire_format(kind)
    assert asked is kind
    schema: dict[str, Any] = json.loads(msgspec.json.encode(wire["json_schema"]["schema"]))
    return schema, wire["json_schema"]["strict"]


def find_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from find_references(each)
    elif isinstance(node, list):
        for each in node:
            yield from find_references(each)


@pytest.mark.parametrize("kind", STRICT)
def test_a_type_becomes_a_strict_schema(kind: type) -> None:
    schema, strict = make_schema(kind)
    assert strict
    assert schema["type"] == "object"
    assert list(find_faults(schema)) == []
    assert {each.removeprefix("#/$defs/") for each in find_references(schema)} == {*schema.get("$defs", {})}


@pytest.mark.parametrize("kind", LOOSE)
def test_a_type_that_no_strict_schema_can_say_is_sent_as_one_that_is_not_strict(kind: type) -> None:
    schema, strict = make_schema(kind)
    assert not strict
    assert schema["type"] == "object"


@pytest.mark.parametrize("kind", STRICT + LOOSE)
def test_an_answer_that_fits_the_rewritten_schema_is_read_as_the_type(kind: Any) -> None:
    schema, _ = make_schema(kind)
    answer = sample(schema, name="text")
    if kind is Zoo:  # whose pattern is only in the description
        answer["code"] = "abc"
    if kind is Described:
        answer["inner"]["v"] = answer["default"]["v"] = "abc"
    text = json.dumps(answer)
    if hasattr(kind, "model_validate_json"):
        kind.model_validate_json(text)
    else:
        msgspec.json.decode(text, type=kind)


def test_bounds_outside_of_strict_schemas_are_put_into_the_description() -> None:
    described = make_schema(Described)[0]
    assert described["properties"]["inner"]["description"] == "the inner one"
    inner = described["properties"]["inner"]["properties"]["v"]
    assert inner["description"] == "maxLength: 9, minLength: 2"
    zoo = make_schema(Zoo)[0]["properties"]
    assert zoo["code"]["description"] == "maxLength: 3, pattern: ^(?!x)"
    assert zoo["unique"]["minItems"] == 1
    node = make_schema(Node)[0]["properties"]["value"]
    assert (node["minimum"], node["maximum"], node["multipleOf"]) == (0, 9, 3)


def test_the_schema_of_the_caller_is_sent_unchanged_and_strict_only_if_valid() -> None:
    for kind in STRICT:
        schema = make_schema(kind)[0]
        if "required" in schema:
            schema["required"].reverse()
        schema.setdefault("$defs", {})["unused"] = {"type": "string"}
        wire = make_wire_format(schema)[0]["json_schema"]
        assert (wire["schema"], wire["strict"]) == (schema, True)
    for schema in (
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {},
        {"type": 7},
        {"$ref": "#"},
    ):
        wire = make_wire_format(schema)[0]["json_schema"]
        assert (wire["schema"], wire["strict"]) == (schema, False)


class Callback(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    call: complex | Any = None
    thing: object.__class__ = int  # type: ignore[valid-type]


class Unresolved(msgspec.Struct):
    other: Missing  # type: ignore[name-defined] # noqa: F821


def call_method(llm: Any, way: str, kind: type) -> None:
    if way == "achat":
        asyncio.run(llm.achat("Which?", response_format=kind))
    else:
        list(getattr(llm, way)("Which?", response_format=kind))


Numbers = pydantic.RootModel[list[int]]


@pytest.mark.parametrize(
    "kind",
    [int, str, list, dict, complex, Colour, Numbers, pydantic.RootModel[dict[str, int]], Unresolved, Callback, type],
)  # fmt: skip
@pytest.mark.parametrize("way", ["chat", "achat", "stream", "count_tokens"])
def test_a_type_that_is_not_an_object_with_names_is_refused_before_anything_is_sent(
    scripted: Any, kind: type, way: str
) -> None:
    llm = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}).llm
    with pytest.raises(BadRequest, match="response_format=") as caught:
        call_method(llm, way, kind)
    assert caught.value.code == "LC307"
    assert caught.value.__context__ is None
    assert scripted.requests == []


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"name": "Paris"}\n```',
        '```\n{"name": "Paris"}```',
        '  ```JSON  \r\n{"name": "Paris"}\r\n```\n',
        'Here it is:\n\n```json\n{"name": "Paris"}\n```\nAnything else?',
        '\n{"name": "Paris"}\n',
    ],
)
def test_json_in_a_code_fence_is_read(scripted: Any, text: str) -> None:
    llm = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}).llm
    scripted.script.append(Reply(text=text))
    reply = llm.chat("Which?", response_format=Plain)
    assert (reply.parsed, reply.text) == (Plain("Paris"), text)
    assert llm.chat("Which?", response_format=Plain).cached


def test_a_fence_inside_the_json_is_a_part_of_it(scripted: Any) -> None:
    llm = llmcore.load({"llm": {"provider": "scripted"}}).llm
    name = "```py\nprint()\n```"
    for text in (json.dumps({"name": name}), f"```json\n{json.dumps({'name': name})}\n```"):
        scripted.script.append(Reply(text=text))
        assert llm.chat("Which?", response_format=Plain, cache=False).parsed == Plain(name)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("length", "the answer is not a Plain: it was cut off by max_tokens"),
        ("content_filter", "the answer is not a Plain: it was cut off by the content filter"),
        ("stop", "the answer is not a Plain: Input data was truncated"),
    ],
)
def test_a_typed_answer_that_was_cut_says_so(scripted: Any, reason: str, said: str) -> None:
    llm = llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}).llm
    for way in ("chat", "achat"):
        scripted.script.append(Reply(text='{"name": "Par', finish_reason=reason))
        with pytest.raises(MalformedReply, match=said) as caught:
            call_method(llm, way, Plain)
        assert caught.value.partial == '{"name": "Par'
        assert ("max_tokens" in str(caught.value.fix)) == (reason == "length")
    scripted.script.append(Reply(text='{"name": "Paris"}', finish_reason="length"))
    assert llm.chat("Which?", response_format=Plain).parsed == Plain("Paris")


def test_a_validator_that_fails_is_a_malformed_reply(scripted: Any) -> None:
    class Strange(pydantic.BaseModel):
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def check(cls, value: str) -> str:
            raise KeyError(value)

    llm = llmcore.load({"llm": {"provider": "scripted"}}).llm
    scripted.script.append(Reply(text='{"name": "Paris"}'))
    with pytest.raises(MalformedReply, match="KeyError") as caught:
        llm.chat("Which?", response_format=Strange, cache=False)
    assert caught.value.__context__ is None
