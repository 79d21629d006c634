"""Fallback: the next model of an alias, where the error allows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

from llmcore.errors import BadRequest, ContentFiltered, ProviderError
from llmcore.llm.call import ChatCall, House
from llmcore.llm.exchange import exchange
from llmcore.log import logger
from llmcore.types import Reply

__all__ = ["along"]


def along(calls: Sequence[ChatCall], house: House) -> Generator[Any, Any, Reply]:
    """Answer with the first of *calls* that succeeds, in order.

    The next one is tried where another backend may do better, and only before the consumer has seen a piece.
    """
    for call in calls:
        call.deadline.start()  # a stream may be read long after it was asked for
    for call, following in pairwise(calls):
        try:
            return (yield from exchange(call, house))
        except ProviderError as error:
            if call.begun or isinstance(error, BadRequest | ContentFiltered):
                raise
            logger(__name__).warning(
                "%s:%s failed (%s), trying the next", call.backend.name, call.request.model, error.code
            )
        following.group = call.group
    return (yield from exchange(calls[-1], house))
