"""`response_format=` of a batch as a type: each answer is parsed into an instance when its item is given to the reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import BadRequest, MalformedReply
from llmcore.llm.batch.items import BatchItem, Prepared
from llmcore.types import Reply

__all__ = ["check_answer", "check_format", "parse_item", "take_answer_type"]


def take_answer_type(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return *parameters* with `response_format` as JSON, and the type of the answers.

    The type is None if the answers are not parsed.

    Raises:
        BadRequest: `response_format` is neither a JSON schema nor a type that has one.
    """
    given = dict(parameters)
    if given.get("response_format") is None:
        return given, None
    from llmcore.llm.structured_output import make_wire_format

    wire, kind = make_wire_format(given["response_format"])
    return {**given, "response_format": wire}, kind


def check_format(item: Prepared, wire: object) -> Prepared:
    """Return *item*, or a failed item if its `response_format` differs from *wire*, the format of the run.

    All answers of a run have one type.
    """
    if item.body is None or item.body.get("response_format") == wire:
        return item
    fault = BadRequest(
        "the item has its own response_format, but the run has a type for all items",
        code="LC307",
        where=f"item {item.position}",
        expected="one type for all items, or a JSON schema in each item",
    )
    return Prepared(item.position, item.id, None, fault)


def check_answer(reply: Reply[Any], kind: Any) -> MalformedReply | None:
    """Return the error of an answer that does not fit *kind*. If *kind* is None, every answer fits."""
    if kind is None:
        return None
    from llmcore.llm.structured_output import parse_reply

    try:
        parse_reply(reply, kind)
    except MalformedReply as error:
        error.fix = "core.llm.resume_batch(run.id, items, response_format=...) asks again"
        return error.with_traceback(None)
    return None


def parse_item(item: BatchItem, kind: Any) -> BatchItem:
    """Return *item* with its answer parsed as *kind*."""
    if kind is None or item.reply is None:
        return item
    error = check_answer(item.reply, kind)
    if error is not None:
        return msgspec.structs.replace(item, reply=None, error=error)
    from llmcore.llm.structured_output import parse_reply

    return msgspec.structs.replace(item, reply=parse_reply(item.reply, kind))
