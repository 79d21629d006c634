"""`response_format=` as a type: send its JSON schema, and parse the answer into an instance."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest, MalformedReply
from llmcore.interrupts import is_interrupt
from llmcore.llm.answer_types import get_answer_type, is_answer_type
from llmcore.llm.strict_schema import SchemaFault, strict_schema
from llmcore.types import Reply

__all__ = ["can_parse", "is_cut", "make_wire_format", "parse_reply"]

_FENCE: Final = re.compile(r"```[\w+-]*[ \t]*\r?\n(.*)```", re.DOTALL)
"""Matches a code fence. The match is greedy, because texts in the JSON may contain code fences."""
_CUT: Final[Mapping[str, tuple[str, str | None]]] = {
    "length": (
        "it was cut off by max_tokens, or by the output limit of the model",
        "chat(..., max_tokens=MORE)",
    ),
    "content_filter": ("it was cut off by the content filter of the server", None),
}
"""Finish reason -> the reason and the fix for an answer that was cut off."""
_TYPES: Final = "a dataclass, TypedDict, msgspec or pydantic model, or a list or a union of them"


def make_wire_format(response_format: object) -> tuple[Mapping[str, Any], Any]:
    """Return the `response_format` to send, and the type into which the answer is parsed.

    The type is None for a dict.

    Args:
        response_format: A dict in OpenAI's format, which is sent unchanged; a JSON schema as a dict; a
            dataclass, TypedDict, msgspec structure or pydantic model; or a list or union of these types.

    Raises:
        BadRequest: The argument is of another type, or the type has no JSON schema.
    """
    if isinstance(response_format, Mapping):
        if "json_schema" in response_format or response_format.get("type") in {
            "json_schema",
            "json_object",
            "text",
        }:
            return response_format, None
        return _make_json_schema(
            str(response_format.get("title", "answer")), response_format, strict=_is_strict(response_format)
        ), None
    if not is_answer_type(response_format):
        raise BadRequest(
            f"response_format must be a JSON schema or a type, got {type(response_format).__name__}",
            code="LC307",
            where="response_format",
            expected=f"a JSON schema, or {_TYPES}",
            fix="chat(..., response_format=type(value))" if _is_instance(response_format) else None,
        )
    return _make_format(response_format), response_format


@functools.lru_cache(maxsize=256)
def _make_format(kind: Any) -> Mapping[str, Any]:
    """Return the `response_format` for the type *kind*. The result is cached, so callers must not change it.

    Raises:
        BadRequest: The type has no JSON schema that a server accepts.
    """
    try:
        answer = get_answer_type(kind)
        schema, strict = strict_schema(answer.make_schema())
        return _make_json_schema(answer.name, schema, strict=strict)
    except SchemaFault as error:
        cause = str(error)
    except BaseException as error:  # raised by pydantic, by msgspec, or by annotations that they evaluate
        if is_interrupt(error):
            raise
        cause = str(error)
    raise BadRequest(
        f"response_format={_show(kind)} has no JSON schema that a server accepts: {cause}",
        code="LC307",
        where="response_format",
        expected=_TYPES,
        fix=f"put it into a field: a dataclass with `value: {_show(kind)}`",
    )


def _show(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _is_instance(value: object) -> bool:
    import dataclasses  # imported here, because this import takes longer than a cached answer

    return (
        dataclasses.is_dataclass(value)
        or isinstance(value, msgspec.Struct)
        or hasattr(value, "model_dump_json")
    )


def is_cut(reply: Reply) -> bool:
    """Return whether the answer was truncated. The answer to the same request would be truncated again."""
    return reply.finish_reason in _CUT


def can_parse(reply: Reply, kind: Any) -> bool:
    """Return whether the answer can be parsed as *kind*."""
    try:
        parse_reply(reply, kind)
    except MalformedReply:
        return False
    return True


def parse_reply(reply: Reply, kind: Any) -> Reply:
    """Return *reply* with its text parsed as *kind* in `parsed`.

    A reply with tool calls or a refusal instead of text is returned unchanged. JSON in a code fence is parsed too;
    text around the fence is ignored.

    Raises:
        MalformedReply: The text does not match *kind*, or is incomplete.
    """
    if not reply.text and (reply.tool_calls or reply.refusal):
        return reply
    answer = get_answer_type(kind)
    cause = ""
    for text in _find_candidates(reply.text):
        try:
            return msgspec.structs.replace(reply, parsed=answer.parse(text))
        except ValueError as error:  # msgspec's and pydantic's errors are ValueErrors
            cause = cause or str(error)
        except BaseException as error:  # raised by a validator of the caller's class
            if is_interrupt(error):
                raise
            cause = cause or f"{type(error).__name__}: {error}"
    reason, fix = _CUT.get(reply.finish_reason or "", ("", None))
    raise MalformedReply(
        f"the answer is not a {answer.name}: {reason or cause}",
        provider=reply.provider,
        partial=reply.text,
        code="LC407",
        where=f"response_format={answer.name}",
        expected=f"JSON that fits {answer.name}",
        fix=fix or f"chat(..., response_format={answer.name}, repair=1)",
    )


def _find_candidates(text: str) -> Iterator[str]:
    """Yield the texts that may be JSON: the whole text, then the content of a code fence."""
    yield text
    fenced = _FENCE.search(text)
    if fenced is not None:
        yield fenced[1]


def _make_json_schema(name: str, schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}


def _is_strict(schema: Mapping[str, Any]) -> bool:
    """Return whether the caller's *schema* follows the rules of strict schemas.

    The schema is sent unchanged in either case.
    """
    try:
        rewritten, strict = strict_schema(schema)
        used = {name: schema["$defs"][name] for name in rewritten.get("$defs", ())}
        given = (
            {**schema, "$defs": used} if used else {name: schema[name] for name in schema if name != "$defs"}
        )
        return strict and _sort_required(rewritten) == _sort_required(given)
    except Exception:  # noqa: BLE001 - the server rejects a malformed schema
        return False


def _sort_required(node: Any) -> Any:
    """Return a copy of a schema with `required` sorted, because its order has no meaning."""
    if isinstance(node, Mapping):
        return {
            name: sorted(each) if name == "required" and isinstance(each, list) else _sort_required(each)
            for name, each in node.items()
        }
    return [_sort_required(each) for each in node] if isinstance(node, list | tuple) else node
