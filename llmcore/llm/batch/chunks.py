"""A chunk of a run as the engine carries it to a worker, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from llmcore import errors
from llmcore.errors import LLMCoreError
from llmcore.types import Reply

__all__ = ["Chunk", "ChunkResult", "Outcome", "decode_error", "decode_reply", "encode_error", "encode_reply"]

Outcome: TypeAlias = Reply[Any] | BaseException | None
"""The outcome of a request; None if the request was not sent."""

encode_reply: Final = msgspec.msgpack.Encoder().encode
decode_reply: Final = msgspec.msgpack.Decoder(Reply).decode
_SIMPLE: Final = (str, int, float, bool, Decimal, type(None))


class Chunk(msgspec.Struct, frozen=True):
    """Requests for one worker."""

    run: str
    settings: bytes
    """The configuration, as `make_portable` returns it, in msgpack."""
    options: Mapping[str, Any]
    """The arguments `user`, `tags` and `cache` of the run, and its model."""
    budget: str | None
    concurrency: int | None
    """The number of requests in flight for this chunk. If None, the worker process adapts one number for all its chunks."""
    requests: list[tuple[bytes, bytes]]
    """Key and body of each request. A body is JSON."""


class ChunkResult(msgspec.Struct, frozen=True):
    """The outcomes of the requests of a chunk, in the order of the requests."""

    replies: list[bytes | None] = []
    errors: dict[int, dict[str, Any]] = {}
    """The position of each failed request -> the error."""
    stop: dict[str, Any] | None = None
    """The error that ended the chunk, because every further request would raise it too."""
    is_closed: bool = False
    """True if the run is not open in the worker's ledger."""


def encode_error(error: BaseException) -> dict[str, Any]:
    """Return the class and the simple attributes of *error*."""
    if not isinstance(error, LLMCoreError):
        error = errors.EngineError(f"a worker failed: {type(error).__name__}: {error}")
    known = next(each for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    parts = {name: value for name, value in vars(error).items() if isinstance(value, _SIMPLE)}
    parts = {name: str(value) if isinstance(value, Decimal) else value for name, value in parts.items()}
    return {"class": known.__name__, "code": error.code, "notes": list(error.notes), **parts}


def decode_error(parts: Mapping[str, Any]) -> LLMCoreError:
    """Return the error that `encode_error` wrote."""
    values = dict(parts)
    error: LLMCoreError = getattr(errors, values.pop("class"))(values["message"])
    values["notes"] = tuple(values["notes"])
    for name, value in values.items():
        is_amount = name in {"limit", "spent", "reserved"} and value is not None
        setattr(error, name, Decimal(value) if is_amount else value)
    return error
