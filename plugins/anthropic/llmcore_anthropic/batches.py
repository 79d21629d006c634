"""The bodies and documents of the Message Batches API. This module does no I/O.

Source, read 2026-11: https://platform.claude.com/docs/en/api/creating-message-batches
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from llmcore.errors import MalformedReply, ProviderError
from llmcore.types import BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest
from llmcore_anthropic.errors import Errors
from llmcore_anthropic.reply import read_reply
from llmcore_anthropic.request import encode, make_body

__all__ = ["LIMITS", "encode_batch", "read_listing", "read_result", "read_status"]

LIMITS: Final = BatchLimits(max_requests=100_000, max_bytes=256_000_000)


class _Inner(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Inner


_decode_line: Final = msgspec.json.Decoder(_Line).decode


def encode_batch(requests: Sequence[BatchRequest], *, default_max_tokens: int) -> bytes:
    """Return the body that creates a batch.

    Raises:
        BadRequest: See `make_body`.
    """
    parts = [
        f'{{"custom_id":"{each.id}","params":'.encode()
        + encode(make_body(each.request, default_max_tokens=default_max_tokens))
        + b"}"
        for each in requests
    ]
    return b'{"requests":[' + b",".join(parts) + b"]}"


def read_status(document: Any, errors: Errors) -> BatchStatus | ProviderError:
    """Return the status in a document that describes a batch, or the error."""
    try:
        counts = document["request_counts"]
        return BatchStatus(
            id=str(document["id"]),
            state="ended" if document["processing_status"] == "ended" else "running",
            created_at=datetime.fromisoformat(document["created_at"]).timestamp(),
            expires_at=datetime.fromisoformat(document["expires_at"]).timestamp(),
            total=sum(counts.values()),
            answered=counts["succeeded"],
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return errors.make_malformed("a document that is not a batch", {})


def read_listing(document: Any, errors: Errors) -> tuple[list[BatchStatus], str | None] | ProviderError:
    """Return the batches of one page and the id after which the next page begins, or the error."""
    data = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(data, list):
        return errors.make_malformed("a document that is not a list of batches", {})
    found: list[BatchStatus] = []
    for each in data:
        status = read_status(each, errors)
        if isinstance(status, ProviderError):
            return status
        found.append(status)
    return found, found[-1].id if found and document.get("has_more") else None


def read_result(line: bytes, requests: Mapping[str, ChatRequest], errors: Errors) -> BatchResult | None:
    """Return the result in one line; None if the line cannot be read, or its request is not in *requests*."""
    try:
        found = _decode_line(line)
    except ValueError:
        return None
    request = requests.get(found.custom_id)
    if request is None:
        return None
    name = found.custom_id
    if found.result.type == "succeeded":
        size = len(msgspec.json.encode(request.body(), enc_hook=repr))
        reply = read_reply(bytes(found.result.message), {}, size, errors)
        if isinstance(reply, MalformedReply):
            return None
        return BatchResult(id=name, reply=msgspec.structs.replace(reply, service_tier="batch"))
    if found.result.type == "errored":
        return BatchResult(id=name, error=errors.from_event(found.result.error, {}, "", request.model))
    return BatchResult(id=name)
