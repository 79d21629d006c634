"""A request is normalised to plain JSON values in one pass: what is accepted is what is keyed and sent."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import json
import math
import types
import uuid
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmcore
from llmcore.calls.json_values import MAX_DEPTH, normalise
from llmcore.errors import BadRequest
from llmcore.llm.key import KeyMaker
from llmcore.types import ChatRequest, Message, ToolCall

KEYS = KeyMaker(provider="openai", identity={}, namespace="default")
PLAIN = (str, int, float, bool, list, dict, type(None), Decimal)


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what it holds"


class Role(str, enum.Enum):  # noqa: UP042 - the older spelling, which most code has
    USER = "user"


class Level(enum.IntEnum):
    LOW = 1


class Plain(enum.Enum):
    RED = "red"


class Half(float):
    pass


class Pair(dict[str, Any]):
    pass


class Scalar:
    """As numpy's scalars are, which is not installed."""

    def __init__(self, value: Any) -> None:
        self.shape, self._value = (), value

    def item(self) -> Any:
        return self._value

    def __repr__(self) -> str:  # the same in every process: it is part of a test's name
        return f"Scalar({self._value!r})"


class Index:
    def __index__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Index()"


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Tagged(msgspec.Struct, tag="t", rename={"long_name": "n"}):
    long_name: int
    left: Any = msgspec.UNSET


class Model(pydantic.BaseModel):
    role: str = "user"
    content: str
    tool_calls: list[Any] | None = None
    refusal: str | None = None


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Word("a"), "a"), (Role.USER, "user"), (Level.LOW, 1), (Plain.RED, "red"), (Half(0.5), 0.5), (True, True),
        (None, None), ((1, (2,)), [1, [2]]), (Pair(a=(1,)), {"a": [1]}), ({Word("a"): 1}, {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}), (collections.deque([1]), [1]), (range(2), [0, 1]),
        (array.array("i", [1]), [1]), (collections.UserString("a"), "a"), (collections.OrderedDict(b=1), {"b": 1}),
        (Decimal("0.1"), 0.1), (Decimal("1.10"), 1.1), (Decimal(5), 5), (Decimal("1E+3"), 1000), (Decimal("-0.0"), 0),
        (Decimal("0.3000000000000000000010"), Decimal("0.300000000000000000001")), (1 << 80, 1 << 80),
        (Scalar(3), 3), (Scalar(bool(1)), True), (Scalar(0.5), 0.5), (Index(), 7), (Point(1, (2,)), {"x": 1, "y": [2]}),
        (Tagged(1), {"type": "t", "n": 1}), (Model(content="a"), {"role": "user", "content": "a"}),
        (Model(content="a", refusal=None), {"role": "user", "content": "a", "refusal": None}),
        (
            ToolCall(name="f", arguments="{}", id="c1"),
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ),
        (
            ToolCall(name="f", arguments="x", id="c1", type="custom"),
            {"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}},
        ),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_is_converted_to_its_json_form(value: object, plain: object) -> None:
    found = normalise(value, "x")
    assert (found, type(found)) == (plain, type(plain))
    assert repr(found) == repr(plain)  # inside too, 1 is not True and "a" is not a subclass


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"a", "x must be text, got bytes"),
        ([{"text": bytearray()}], "x[0].text must be text, got bytearray"),
        (memoryview(b""), "x must be text, got memoryview"),
        ({"a": {1}}, "x.a must be a list, got set"),
        (frozenset(), "x must be a list, got frozenset"),
        (math.nan, "x must be a finite number, got nan"),
        ([Half("-inf")], "x[0] must be a finite number, got -inf"),
        (Scalar(math.inf), "x must be a finite number, got inf"),
        (Decimal("NaN"), "x must be a finite number, got NaN"),
        (Decimal("sNaN"), "x must be a finite number, got sNaN"),
        (Decimal("Infinity"), "x must be a finite number, got Infinity"),
        (Decimal("1E+999999"), "x must be a finite number, got 1E+999999"),
        (Decimal("0." + "1" * 5000), "x must be a number of at most 4,300 digits, got 5,000 digits"),
        (10**5000, "x must be a number of at most 4,300 digits, got 16,610 bits"),
        ({"a": {1: 2}}, "x.a must have names of text, got int"),
        ({None: 2}, "x must have names of text, got NoneType"),
        (["a", "b\ud800"], "x[1] contains a lone surrogate U+D800 at index 1"),
        ({"é\udfff": 1}, "x.é\\udfff has a name that contains a lone surrogate U+DFFF at index 1"),
        (object(), "x must be a JSON value, got object"),
        (1j, "x must be a JSON value, got complex"),
        (Scalar(1j), f"x must be a JSON value, got {__name__}.Scalar"),
        (Point, "x must be a JSON value, got the type Point"),
        (dt.date(2026, 1, 1), "x must be a JSON value, got datetime.date"),
        (uuid.UUID(int=0), "x must be a JSON value, got uuid.UUID"),
        (Fraction(1, 3), "x must be a JSON value, got fractions.Fraction"),
        (iter([1]), "x must be a JSON value, got list_iterator"),
        (Point(1, b""), "x.y must be text, got bytes"),
        (Tagged(1, b""), "x.left must be text, got bytes"),
        (print, "x must be a JSON value, got builtin_function_or_method"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_without_a_json_form_is_rejected_with_its_path(value: object, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        normalise(value, "x")
    assert caught.value.message == said
    assert said.startswith(str(caught.value.where))
    assert caught.value.expected
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_value_that_contains_itself_is_rejected_with_its_path() -> None:
    ring: dict[str, Any] = {"a": [1]}
    ring["a"].append({"b": ring})
    with pytest.raises(BadRequest, match=r"^x\.a\[1\]\.b must not contain itself\n"):
        normalise(ring, "x")
    wide: list[Any] = []
    wide += [wide, wide]
    with pytest.raises(BadRequest, match=r"^x\[0\] must not contain itself\n"):
        normalise(wide, "x")


@pytest.mark.slow
def test_nesting_ends_at_a_bound_that_every_json_reader_takes() -> None:
    deep: Any = "a"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert json.dumps(normalise(deep, "x")) == json.dumps(deep)
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadRequest, match="must be nested at most 100 levels deep"):
        normalise(deep, "x")


def test_failing_code_of_a_class_raises_an_llmcore_error() -> None:
    class Broken(Mapping[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise OSError("sk-secret")

        def __iter__(self) -> Any:
            return iter("a")

        def __len__(self) -> int:
            return 1

    with pytest.raises(BadRequest, match=r"^x\[0\] cannot be read: OSError in ") as caught:
        normalise([Broken()], "x")
    assert "sk-secret" not in repr(caught.value)
    assert caught.value.__context__ is None


texts = st.text(max_size=8)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | decimals | texts | texts.map(Word) | st.floats(0, 1).map(Half)
names = texts | texts.map(Word)


def _nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    dicts = st.dictionaries(texts, inner, max_size=3)
    points = st.builds(Point, st.integers(0, 9), inner)
    return lists | lists.map(tuple) | dicts | dicts.map(types.MappingProxyType) | dicts.map(Pair) | points


values = st.recursive(leaves, _nest, max_leaves=10)
anything = st.recursive(
    leaves | st.floats() | st.binary(max_size=2) | st.just({1}) | st.text(st.characters(), max_size=3),
    _nest,
)


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(name) is str and is_plain(item) for name, item in value.items())
    return all(map(is_plain, value)) if type(value) is list else type(value) in PLAIN


@given(anything)
def test_a_value_is_normalised_or_refused_and_nothing_else(value: Any) -> None:
    try:
        plain = normalise(value, "x")
    except BadRequest:
        return
    assert is_plain(plain)
    assert repr(normalise(plain, "x")) == repr(plain)


@given(values)
def test_an_accepted_value_survives_json(value: Any) -> None:
    plain = normalise(value, "x")
    wire = msgspec.json.Encoder(decimal_format="number").encode(plain)
    back = json.loads(wire, parse_float=Decimal)
    assert convert_to_decimals(back) == convert_to_decimals(plain)


def convert_to_decimals(value: Any) -> Any:
    """Return *value* with every number as the Decimal that its text is, which loses nothing."""
    if isinstance(value, dict):
        return {name: convert_to_decimals(item) for name, item in value.items()}
    if isinstance(value, list):
        return [convert_to_decimals(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (type(value).__name__, value)
    return ("Decimal", Decimal(repr(value)))


@given(values, values)
def test_two_values_share_a_key_only_if_they_are_the_same_json(one: Any, other: Any) -> None:
    def key(value: Any) -> str:
        return KEYS.make_key(ChatRequest(model="m", messages=[], parameters={"x": normalise(value, "x")}))

    assert key(one) == key(normalise(one, "x"))
    same = convert_to_decimals(normalise(one, "x")) == convert_to_decimals(normalise(other, "x"))
    assert (key(one) == key(other)) == same


def test_a_number_that_no_float_has_is_not_the_text_of_its_digits() -> None:
    def key(value: Any) -> str:
        return KEYS.make_key(ChatRequest(model="m", messages=[], parameters={"x": value}))

    number = normalise(Decimal("0.30000000000000000001"), "x")
    assert key(number) not in {key(str(number)), key(0.3)}


@pytest.mark.slow
@given(values)
def test_the_objects_of_the_caller_are_not_changed(value: Any) -> None:
    before = repr(value)
    normalise(value, "x")
    assert repr(value) == before


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}})


def test_a_later_change_by_the_caller_does_not_change_the_request(core: llmcore.Core, scripted: Any) -> None:
    part = {"type": "text", "text": "a"}
    messages: list[Message] = [{"role": "user", "content": [part]}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    stream = core.llm.stream(messages, tools=tools)
    part["text"] = "b"
    messages.clear()
    tools[0]["function"]["name"] = "g"  # type: ignore[index]
    list(stream)
    request = scripted.requests[0]
    assert request.messages == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    assert request.parameters["tools"][0]["function"] == {"name": "f"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": b"b"}]}]},
            "messages[0].content[1].text must be text, got bytes",
        ),
        ({"prompt": "a", "temperature": math.nan}, "temperature must be a finite number, got nan"),
        ({"prompt": "a", "stop": {"b"}}, "stop must be a list, got set"),
        ({"prompt": [{"role": "user", "content": [7]}]}, "messages[0].content[0] must be a dict, got int"),
        ({"prompt": [{"role": "", "content": "a"}]}, "messages[0].role must be text, got ''"),
        ({"prompt": [{"role": 7, "content": "a"}]}, "messages[0].role must be text, got int"),
        ({"prompt": b"a"}, "messages must be a list of messages, got bytes"),
        ({"prompt": "a", "system": b"a"}, "system must be text, got bytes"),
        ({"prompt": "a", "cache_namespace": b"a"}, "cache_namespace must be text, got bytes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["chat", "stream"])
def test_a_request_that_is_not_json_is_refused_before_it_is_sent(
    core: llmcore.Core, scripted: Any, method: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        list(getattr(core.llm, method)(**given))
    assert caught.value.message == said
    assert scripted.requests == []


def test_subclasses_and_enums_make_the_request_that_their_values_make(
    core: llmcore.Core, scripted: Any
) -> None:
    first = core.llm.chat([{"role": "user", "content": "a"}], temperature=0.1, user="ann", model="m")
    messages: Any = [{Word("role"): Role.USER, "content": Word("a")}]
    tenth: Any = Decimal("0.1")
    again = core.llm.chat(
        messages,
        temperature=tenth,
        user=Word("ann"),
        model=Word("m"),
        tags=(Word("t"),),
    )
    assert (again.cached, again.text) == (True, first.text)
    assert len(scripted.requests) == 1
    assert core.llm.chat(Word("b"), system=Word("c")).text
    assert all(type(each["content"]) is str for each in scripted.requests[1].messages)


@pytest.mark.parametrize("role", ["ipython", "latest_reminder", "critic", "tool_response", "USER", "model"])
def test_a_role_that_only_some_servers_know_is_passed_on(
    core: llmcore.Core, scripted: Any, role: str
) -> None:
    messages: list[Any] = [
        {"role": role, "content": [{"type": "video_url", "video_url": {"url": "x"}}, "and a text"]},
        {"role": "assistant", "content": "b", "prefix": True},
        {"role": role},
    ]
    core.llm.chat(messages)
    assert scripted.requests[0].messages == messages


async def _achat(core: llmcore.Core, *args: Any, **given: Any) -> Any:
    return await core.llm.achat(*args, **given)


def test_an_asynchronous_call_is_checked_the_same_way(core: llmcore.Core, scripted: Any) -> None:
    import asyncio

    with pytest.raises(BadRequest, match=r"^messages\[0\]\.content\[0\]\.text must be text, got bytes\n"):
        asyncio.run(_achat(core, [{"role": "user", "content": [{"type": "text", "text": b"a"}]}]))
    assert scripted.requests == []
    asyncio.run(_achat(core, "a", temperature=Decimal("0.25")))
    assert scripted.requests[0].parameters == {"temperature": 0.25}
