"""The JSON that `echo` generates fits the requested schema."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.builtin.echo import EchoProvider
from llmcore.builtin.schema_sample import sample
from llmcore.types import ChatRequest

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "left", "children"],
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "said"),
        ({"type": "string", "maxLength": 2}, "sa"),
        ({"type": "string", "minLength": 6}, "said.."),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"enum": ["red", "green"]}, "red"),
        ({"const": 7}, 7),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 0),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [0, 0, 0]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
        ({"prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": False}, ["said", True]),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]}, {"a": "said", "b": "said"}),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"oneOf": [{"type": "integer", "minimum": 5}, {"type": "string"}]}, 5),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": "found"}}}, "found"),
        ({}, "said"),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_fits_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema, "said") == value
    assert type(sample(schema, "said")) is type(value)


def test_a_recursive_schema_has_a_value() -> None:
    tree = sample(TREE, "leaf")
    depth = 0
    while tree["left"] is not None:
        assert tree["name"] == "leaf"
        tree, depth = tree["left"], depth + 1
    assert 0 < depth < 20


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "minimum": st.integers(-50, 50),
            "exclusiveMinimum": st.integers(-50, 50),
            "multipleOf": st.integers(1, 9),
        },
    ),
    st.integers(20, 60),
    st.sampled_from(["integer", "number"]),
)
def test_a_number_is_within_its_bounds(bounds: dict[str, int], room: int, kind: str) -> None:
    highest = max(bounds.get("minimum", -50), bounds.get("exclusiveMinimum", -50)) + room
    number = sample({"type": kind, "maximum": highest, **bounds}, "")
    assert bounds.get("minimum", number) <= number <= highest
    assert bounds.get("exclusiveMinimum", number - 1) < number
    assert number % bounds.get("multipleOf", 1) == 0 or kind == "number"
    if kind == "integer":
        assert number == int(number)


class Trip(msgspec.Struct):
    city: str
    nights: int
    stops: list[str]
    budget: float | None = None


def test_echo_answers_with_an_instance_of_a_type() -> None:
    (schema,), parts = msgspec.json.schema_components([Trip], ref_template="#/$defs/{name}")
    wanted = {"type": "json_schema", "json_schema": {"name": "trip", "schema": {**schema, "$defs": parts}}}
    request = ChatRequest(
        model="echo",
        messages=[{"role": "user", "content": "Oslo"}],
        parameters={"response_format": wanted},
    )
    trip = msgspec.json.decode(EchoProvider().complete(request).text, type=Trip)
    assert (trip.city, trip.stops) == ("Oslo", ["Oslo"])
