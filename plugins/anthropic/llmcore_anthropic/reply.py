"""Read a message, the answer of `POST /v1/messages`, into a `Reply`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import MalformedReply
from llmcore.support.finish_reasons import normalise_finish_reason
from llmcore.types import Reply, ToolCall, Usage
from llmcore_anthropic.errors import Errors, Headers, get_request_id
from llmcore_anthropic.usage import estimate_usage, read_limits, read_usage

__all__ = ["read_refusal", "read_reply"]


def read_reply(body: bytes, headers: Headers, sent: int, errors: Errors) -> Reply | MalformedReply:
    """Return the reply, or the error to raise.

    Args:
        body: The body of an answer with status 200.
        headers: The headers of the answer.
        sent: The number of bytes of the request, for the estimate of a missing usage.
        errors: Makes the error.
    """
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        return errors.make_malformed(f"a body that is not JSON ({errors.scrub(str(error))})", headers)
    if not isinstance(document, dict) or not isinstance(document.get("content"), list):
        return errors.make_malformed("a document without `content`", headers)
    reason = document.get("stop_reason")
    texts, reasoning, calls = _read_blocks(document["content"])
    usage: Usage = read_usage(document.get("usage")) or estimate_usage(sent, len(body))
    usage_document = document.get("usage")
    return Reply(
        text=texts,
        model=str(document.get("model") or ""),
        finish_reason=normalise_finish_reason(reason),
        usage=usage,
        tool_calls=tuple(calls),
        service_tier=usage_document.get("service_tier") if isinstance(usage_document, dict) else None,
        request_id=get_request_id(headers),
        body=body,
        limits=read_limits(headers),
        refusal=read_refusal(document),
        reasoning=reasoning,
    )


def read_refusal(document: Mapping[str, Any]) -> str | None:
    """Return the explanation of a refusal; None if the model answered."""
    if document.get("stop_reason") != "refusal":
        return None
    details = document.get("stop_details")
    explanation = details.get("explanation") if isinstance(details, Mapping) else None
    return explanation if isinstance(explanation, str) and explanation else "the model refused to answer"


def _read_blocks(blocks: list[Any]) -> tuple[str, str, list[ToolCall]]:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    for block in blocks:
        if not isinstance(block, Mapping):
            continue
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif kind == "thinking":
            reasoning.append(str(block.get("thinking") or ""))
        elif kind == "tool_use":
            arguments = msgspec.json.encode(block.get("input") or {}).decode()
            calls.append(
                ToolCall(
                    name=str(block.get("name") or ""),
                    arguments=arguments,
                    id=str(block.get("id") or ""),
                    index=len(calls),
                )
            )
    return "".join(texts), "".join(reasoning), calls
