"""Read a schema that is written as fields: `name, age int, bio: one sentence`."""

from __future__ import annotations

import re
from typing import Any, Final

from llmcore.cli.command_errors import UsageError

__all__ = ["EXAMPLE", "parse_fields"]

EXAMPLE: Final = "name, age int, bio: one sentence"
_TYPES: Final = {"bool": "boolean", "float": "number", "int": "integer", "str": "string"}
_FIELD: Final = re.compile(r"(?P<name>[A-Za-z_][\w-]*)(?:\s+(?P<type>\w+))?\s*(?::\s*(?P<description>.*))?")


def parse_fields(text: str) -> dict[str, Any]:
    """Return the JSON schema of an object with the fields in *text*. All fields are required.

    Fields are separated by commas. If the text has several lines, each line is one field, and a description
    may contain commas. A field is a name, optionally a type (str, int, float or bool; the default is str),
    and optionally a colon and a description.

    Raises:
        UsageError: A field has no valid name, or an unknown type.
    """
    properties: dict[str, Any] = {}
    for field in filter(None, (part.strip() for part in re.split(r"\n" if "\n" in text else ",", text))):
        found = _FIELD.fullmatch(field)
        if found is None:
            raise UsageError(
                f"a field of the schema must be a name, a type and a description, got `{field}`",
                where="--schema",
                expected=f"NAME [{' | '.join(_TYPES)}] [: DESCRIPTION], such as: {EXAMPLE}",
                fix=f"--schema {EXAMPLE}",
            )
        kind = found["type"] or "str"
        if kind not in _TYPES:
            raise _make_type_error(text, field, kind)
        schema = {"type": _TYPES[kind]}
        if found["description"]:
            schema["description"] = found["description"].strip()
        properties[found["name"]] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _make_type_error(text: str, field: str, kind: str) -> UsageError:
    from difflib import get_close_matches

    json_names = {name: own for own, name in _TYPES.items()}  # `string` means str
    near = json_names.get(kind) or next(iter(get_close_matches(kind, _TYPES, n=1)), None)
    corrected = text.replace(field, re.sub(rf"\b{kind}\b", near or "str", field, count=1), 1)
    return UsageError(
        f"a field of the schema has an unknown type: `{field}`",
        where="--schema",
        expected=", ".join(_TYPES),
        suggestion=near,
        fix=f"--schema {corrected}",
    )
