"""Early refresh of replies: when one is due, and how it is asked for anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from llmcore.cache.refresh import Renewal
from llmcore.calls.attempts import Deadline
from llmcore.calls.steps import Act
from llmcore.llm.entry import due_of, unpack

if TYPE_CHECKING:
    from llmcore.llm.call import ChatCall, House

__all__ = ["due_at", "is_due", "renewal"]


def due_at(call: ChatCall, house: House) -> float:
    """Return when an answer that is kept now is to be asked for anew, in seconds since 1970; 0 for never."""
    ttl = house.cache.ttl if call.ttl is None else call.ttl
    return 0.0 if call.refresh is None or ttl is None else time.time() + call.refresh * ttl


def is_due(call: ChatCall, data: bytes | None) -> bool:
    """Return whether *call* is one that refreshes, and finds what is to be asked for anew."""
    if call.refresh is None or call.key is None or data is None:
        return False
    return 0 < due_of(call.key, data) <= time.time()


def renewal(
    call: ChatCall, house: House, ask: Callable[[ChatCall, House], Generator[Any, Any, object]]
) -> Renewal:
    """Return how the answer to *call* is asked for anew: as the call was, in the time that any call has."""
    key = call.key or ""
    again = msgspec.structs.replace(
        call,
        reads=False,
        streaming=False,
        deadline=Deadline(house.policy.deadline_s),
        group="",
        attempts=0,
        settled=False,
        begun=False,
    )

    def due(kept: bytes) -> Act[bool]:
        yield from ()
        return unpack(key, kept) is not None and is_due(call, kept)

    def make() -> Act[None]:
        again.deadline.start()
        yield from ask(again, house)

    return Renewal(key, f"a reply of `{call.backend.name}:{call.request.model}`", due, make)
