"""Fallback: the next model of an alias, where the error allows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from llmcore.errors import BadRequest, ContentFiltered, ProviderError
from llmcore.llm.exchange import ChatCall, House, exchange
from llmcore.types import Reply

__all__ = ["along"]


def along(calls: Sequence[ChatCall], house: House) -> Generator[Any, Any, Reply]:
    """Answer with the first of *calls* that succeeds, in order.

    The next one is tried where another backend may do better, and only before the consumer has seen a piece.
    """
    for call in calls[:-1]:
        try:
            return (yield from exchange(call, house))
        except ProviderError as error:
            if call.begun or isinstance(error, BadRequest | ContentFiltered):
                raise
            _warn("%s:%s failed (%s), trying the next", call.backend.name, call.request.model, error.code)
    return (yield from exchange(calls[-1], house))


def _warn(message: str, *args: object) -> None:
    import logging  # only here: it costs more than a cached answer

    logging.getLogger(__name__).warning(message, *args)
