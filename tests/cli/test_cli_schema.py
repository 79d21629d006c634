"""`ask --schema`: a schema that is none is refused, and so is an answer that does not fit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.cli import main
from llmcore.cli.schema_check import find_misfit
from llmcore.cli.schema_fields import EXAMPLE
from llmcore.cli.schema_file import read_schema
from llmcore_testing import Simulator

CITY = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "size": {"enum": ["small", "large"]},
        "people": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"part": {"type": ["string", "null"]}},
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, dict[str, Any]]:
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    return code, captured.out, json.loads(captured.err)["error"] if code else {}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        Path("llmcore.toml").write_text(
            f'[llm]\nprovider = "openai"\nmodel = "gpt-4o"\n[llm.openai]\nbase_url = "{simulator.base_url}"\n'
            'api_key = "env:SIMULATED"\n'
        )
        yield simulator


def test_a_type_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.json").write_text('{"properties": {\n  "name": {"type": "strng"}}}')
    code, out, error = run(capsys, "ask", "--schema", "bad.json", "Hi")
    assert (code, out, error["code"]) == (2, "", "LC001")
    assert error["message"] == 'bad.json must be a JSON schema, but $.properties.name.type is "strng"'
    assert error["where"] == "bad.json:2:20"
    assert error["expected"] == "array, boolean, integer, null, number, object, string"
    assert (error["suggestion"], error["fix"]) == ("string", '"type": "string"')


def test_a_schema_with_properties_named_type_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.json").write_text('{"type": "object", "properties": {"type": {"type": "string"}}}')
    assert run(capsys, "ask", "--schema", "good.json", "Hi")[0] == 0


@pytest.mark.parametrize(
    ("written", "properties"),
    [
        ("name, age int", {"name": {"type": "string"}, "age": {"type": "integer"}}),
        ("name str\nbio: one sentence, or two\n", {"name": {"type": "string"}, "bio": {"type": "string", "description": "one sentence, or two"}}),
        ("price float, ok bool: is it?", {"price": {"type": "number"}, "ok": {"type": "boolean", "description": "is it?"}}),
    ],
)  # fmt: skip
def test_a_schema_is_written_as_fields(written: str, properties: dict[str, Any]) -> None:
    assert read_schema(written) == {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def test_a_schema_is_written_at_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ask", "--schema", "name, age int", "Hi")
    assert (code, json.loads(json.loads(out)["text"])) == (0, {"name": "Hi", "age": 0})
    inline = json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
    code, out, _ = run(capsys, "ask", "--schema", inline, "Hi")
    assert (code, json.loads(json.loads(out)["text"])) == (0, {"a": 0})


def test_a_file_is_preferred_to_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my schema.json").write_text(json.dumps(CITY))
    assert read_schema("my schema.json") == CITY
    code, _, error = run(capsys, "ask", "--schema", "nofile.json", "Hi")
    assert (code, error["where"]) == (2, "--schema nofile.json")


@pytest.mark.parametrize(
    ("written", "near", "fixed"),
    [
        ("name string, age int", "str", "name str, age int"),
        ("name, age itn", "int", "name, age int"),
        ("name, 5", None, EXAMPLE),
        ('{"type":', None, EXAMPLE),
    ],
)
def test_fields_that_are_not_valid_are_corrected(
    written: str, near: str | None, fixed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = run(capsys, "ask", "--schema", written, "Hi")
    assert (code, out, error["code"], error["suggestion"]) == (2, "", "LC001", near)
    words = shlex.split(error["fix"])
    assert words[words.index("--schema") + 1] == fixed
    assert main(words[1:]) == 0


def test_an_answer_that_does_not_fit_is_printed_and_reported(
    upstream: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED", "sk-test")
    Path("city.json").write_text(json.dumps(CITY))
    upstream.replies('{"name": 3}')
    code, out, error = run(capsys, "ask", "--schema", "city.json", "Hi")
    assert (code, error["code"], error["where"]) == (1, "LC407", "--schema city.json")
    assert json.loads(out)["text"] == '{"name": 3}'
    assert error["message"] == "the answer does not fit the schema: $.name must be string, got 3"
    assert error["fix"] == "llmcore ask --refresh --schema city.json Hi --json"
    upstream.replies("hello")
    _, _, error = run(capsys, "ask", "--schema", "city.json", "Hello")
    assert "it is not JSON" in error["message"]


@pytest.mark.parametrize(
    ("value", "misfit"),
    [
        ({"name": "x", "size": "small", "people": None, "parts": ["a", None]}, None),
        ({"name": "x", "people": 3.0}, None),
        ({}, "$ must have `name`"),
        ({"name": "x", "size": "huge"}, '$.size must be "small" or "large", got "huge"'),
        ({"name": "x", "people": True}, "$.people must be integer, got true"),
        ({"name": "x", "parts": [1]}, "$.parts[0] must be string or null, got 1"),
        ({"name": "x", "other": 1}, "$.other must not be there"),
        ([], "$ must be object, got []"),
    ],
)
def test_the_first_misfit_is_named(value: Any, misfit: str | None) -> None:
    assert find_misfit(value, CITY) == misfit
