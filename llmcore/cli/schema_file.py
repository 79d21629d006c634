"""Read the JSON schema of `--schema`: a file, JSON, or fields such as `name, age int`."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import decode_utf8, read_file
from llmcore.cli.schema_check import TYPES, find_misfit, find_wrong_type
from llmcore.cli.schema_fields import EXAMPLE
from llmcore.errors import MalformedReply
from llmcore.support.errors import raise_unchained

if TYPE_CHECKING:
    from llmcore.types import Reply

__all__ = ["check_answer", "get_schema_name", "is_wire_format", "read_schema"]

_EXPECTED: Final = 'an object such as {"type": "object", "properties": {"name": {"type": "string"}}}'
_INLINE: Final = "the schema"
"""The name that errors use for a schema without a file."""
_LONGEST: Final = 40
"""Maximum number of characters of a value that an error shows."""
_WIDEST: Final = 100
"""Maximum number of characters of a line that an error shows."""


def read_schema(given: str) -> dict[str, Any]:
    """Return the schema in the file *given*, or the schema that *given* contains as JSON or as fields.

    Text with a comma or a space is a list of fields, unless a file has this name.

    Raises:
        UsageError: The file cannot be read, or the schema is not a JSON object, contains a type that does not exist in
            JSON Schema, or has an invalid field.
    """
    if given.lstrip().startswith("{"):
        return _parse(given, _INLINE)
    if re.search(r"[\s,]", given.strip()) and not Path(given).is_file():
        from llmcore.cli.schema_fields import parse_fields

        return parse_fields(given)
    return _parse(_read(given), given)


def get_schema_name(given: str) -> str:
    """Return the name that errors use for the schema *given*: the name of its file, or "the schema"."""
    return given if Path(given).is_file() else _INLINE


def _read(name: str) -> str:
    try:
        return decode_utf8(read_file(name), name)
    except UsageError as error:
        near = _find_neighbour(name)
        error.where, error.suggestion = f"--schema {name}", near
        error.fix = f"--schema {near or EXAMPLE}"
        raise


def _parse(text: str, name: str) -> dict[str, Any]:
    """Return the schema in *text*. Errors call the schema *name*."""
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        ends = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
        inside = _find_open(text) if ends else None
        fault = UsageError(
            f"{name} is not JSON: " + (f"it ends inside {inside}" if inside else error.msg),
            where=f"{name}:{error.lineno}:{error.colno}",
            expected=_EXPECTED,
            fix=f"--schema {EXAMPLE}",
        )
        fault.excerpt = _make_excerpt(text, error.lineno, error.colno)
        raise_unchained(fault)
    if not isinstance(schema, dict):
        raise UsageError(
            f"{name} must contain a JSON schema, got {json.dumps(schema)[:_LONGEST]}",
            where=f"{name}:1:1",
            expected=_EXPECTED,
            fix="llmcore ask --help",
        )
    _check_types(schema, text, name)
    return schema


def _find_open(text: str) -> str | None:
    """Describe the innermost value of *text* that is not closed, such as "a text"; None if all values are closed."""
    open_: list[str] = []
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text, re.DOTALL):
        if mark in "[{":
            open_.append(mark)
        elif mark in "]}":
            open_ = open_[:-1]
        elif len(mark) == 1 or not mark.endswith('"'):
            return "a text"
    return {"{": "an object: a } is missing", "[": "a list: a ] is missing"}[open_[-1]] if open_ else None


def _make_excerpt(text: str, number: int, column: int) -> str:
    """Return the line *number* of *text*, and below it a line with a mark at *column*."""
    line = (text.splitlines() or [""])[number - 1] if number <= len(text.splitlines()) else ""
    start = max(0, column - 1 - _WIDEST // 2)
    shown = "".join(each if each.isprintable() else " " for each in line[start : start + _WIDEST])
    return f"{number} | {shown}\n{' ' * len(str(number))} | {' ' * (column - 1 - start)}^"


def check_answer(reply: Reply, schema: dict[str, Any], name: str, *, fix: str | None) -> None:
    """Raise an error if the answer does not fit *schema*.

    The error calls the schema *name*, and *fix* is the command that asks again.

    Raises:
        MalformedReply: The answer is not JSON, or a part of it does not fit.
    """
    if is_wire_format(schema) or (not reply.text and (reply.tool_calls or reply.refusal)):
        return
    try:
        misfit = find_misfit(json.loads(reply.text), schema)
    except ValueError as error:
        misfit = f"it is not JSON: {error}"
    if misfit is None:
        return
    raise MalformedReply(
        f"the answer does not fit the schema: {misfit}",
        provider=reply.provider,
        partial=reply.text,
        code="LC407",
        where="--schema" if name == _INLINE else f"--schema {name}",
        expected=f"JSON that fits {name}",
        fix=fix,
    )


def is_wire_format(schema: dict[str, Any]) -> bool:
    """Return whether the file contains a complete `response_format`, which is sent unchanged."""
    return "json_schema" in schema or schema.get("type") in {"json_schema", "json_object", "text"}


def _check_types(schema: dict[str, Any], text: str, name: str) -> None:
    wrong = None if is_wire_format(schema) else find_wrong_type(schema)
    if wrong is None:
        return
    value = json.dumps(wrong.value, ensure_ascii=False)[:_LONGEST]
    at = text.find(value)
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    near = get_close_matches(str(wrong.value), TYPES, n=1)
    raise UsageError(
        f"{name} must be a JSON schema, but {wrong.path} is {value}",
        where=name if at < 0 else f"{name}:{line}:{column}",
        expected=", ".join(TYPES),
        suggestion=near[0] if near else None,
        fix=f'"type": "{near[0]}"' if near else None,
    )


def _find_neighbour(name: str) -> str | None:
    """Return the JSON file with the most similar name in the same folder, or the only JSON file of the folder.

    Return None if the folder has neither.
    """
    path = Path(name)
    try:
        names = [each.name for each in path.parent.iterdir() if each.suffix == ".json"]
    except OSError:
        return None
    near = get_close_matches(path.name, names, n=1) or (names if len(names) == 1 else [])
    return str(path.with_name(near[0])) if near else None
