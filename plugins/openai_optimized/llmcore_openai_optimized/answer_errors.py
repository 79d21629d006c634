"""Find errors that a server reports inside an answer, complete or streamed."""

from __future__ import annotations

from typing import Any

from llmcore_openai_optimized.chunk import Chunk, SentChoice
from llmcore_openai_optimized.error_report import FAILED_REASONS, is_error, parse_body

__all__ = ["find_error"]


def find_error(chunk: Chunk | None, event: bytes, payload: bytes) -> Any:
    """Return the error document in a completion or a chunk; None if there is no error.

    Args:
        chunk: The decoded payload; None if the payload cannot be decoded.
        event: The name of the server-sent event.
        payload: The JSON.
    """
    if event == b"error":
        return parse_body(payload)
    if chunk is not None and chunk.choices and not chunk.error and not any(map(_has_failed, chunk.choices)):
        # This is an answer. Error documents are rare, so decoding them a second time, with all fields, costs little.
        return None
    document = parse_body(payload)
    return document if is_error(document) else None


def _has_failed(choice: SentChoice) -> bool:
    reason = choice.finish_reason
    return bool(choice.error) or (isinstance(reason, str) and reason.lower() in FAILED_REASONS)
