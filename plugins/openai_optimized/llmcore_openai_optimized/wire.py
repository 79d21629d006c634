"""Encode the bodies of requests as JSON."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest

__all__ = ["encode"]

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(request: ChatRequest, *, stream: bool, ask_usage: bool = True) -> bytes:
    """Return the body of the HTTP request.

    Args:
        request: The request.
        stream: True to ask for a stream.
        ask_usage: True to ask for the usage at the end of a stream of Chat Completions.

    Raises:
        BadRequest: A value cannot be encoded as JSON.
    """
    body = request.body()
    if stream and (request.api != "chat" or not ask_usage):
        body["stream"] = True
    elif stream:
        sent = body.get("stream_options")
        options = sent if isinstance(sent, Mapping) else {}
        body |= {"stream": True, "stream_options": {"include_usage": True, **options}}
    try:
        return _encoder.encode(body)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        cause = str(error)
    raise BadRequest(
        f"the request cannot be encoded as JSON: {cause}",
        expected="texts, numbers, lists and dicts",
    )
