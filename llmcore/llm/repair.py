"""Repair (`repair=`): if an answer does not fit its type, send the answer and its errors back to the model."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from llmcore.calls.deadline import Deadline, SharedDeadline
from llmcore.errors import BadRequest, MalformedReply
from llmcore.llm.call import ChatCall
from llmcore.llm.fallback import with_fallback
from llmcore.llm.structured_output import is_cut, parse_reply
from llmcore.pipeline import Services
from llmcore.types import Message, Reply

__all__ = ["check_repair", "parse_or_repair"]

_MOST: Final = 5
_REQUEST: Final = "{fault}\nReply again. Write only JSON that fits the schema, without any other text."


def check_repair(value: object, kind: Any, *, streaming: bool) -> int:
    """Return the argument `repair`, the number of times to ask again.

    Raises:
        BadRequest: The argument is not a number from 0 to 5, or the call does not parse an answer.
    """
    if value is None or (value == 0 and isinstance(value, int)):
        return 0
    if not isinstance(value, int) or not 0 <= value <= _MOST:
        raise BadRequest(
            f"repair must be a whole number from 0 to {_MOST}, got {value!r}",
            code="LC308",
            where="repair",
            expected=f"how often to ask again: 0 to {_MOST}",
            fix="chat(..., repair=1)",
        )
    if kind is None or streaming:
        raise BadRequest(
            "repair needs an answer that is parsed: chat() or achat() with a type as response_format",
            code="LC308",
            where="repair",
            expected="response_format= a dataclass, TypedDict, msgspec or pydantic model, or a list or union of them",
            fix="chat(..., response_format=TYPE, repair=1)" if streaming else "chat(...) without repair=",
        )
    return int(value)


def parse_or_repair(
    calls: Sequence[ChatCall], kind: Any, repairs: int, services: Services, reply: Reply | None = None
) -> Generator[Any, Any, Reply]:
    """Run *calls* and return the reply with its parsed answer.

    Ask again up to *repairs* times if the answer does not fit. If the memory tier already had the answer, the answer is
    passed as *reply*.

    Every request passes through the whole pipeline: it has its own reservation, retries and row in the ledger.
    All requests share the deadline of the call. The cache key is the key of the original request, and only an answer
    that fits is cached under this key.

    Raises:
        MalformedReply: The last answer does not fit. Or an answer was cut off; no repair is tried then, because the
            new answer would be cut off too.
    """
    deadlines = [call.deadline for call in calls]
    if reply is None:
        reply = yield from with_fallback(calls, services)
    asked = 0
    while True:
        try:
            return parse_reply(reply, kind)
        except MalformedReply as error:
            fault = error
        if asked == repairs or is_cut(reply):
            break
        asked += 1
        calls = [
            _make_repair(call, deadline, reply, fault)
            for call, deadline in zip(calls, deadlines, strict=True)
        ]
        reply = yield from with_fallback(calls, services)
    if asked:
        fault.notes += (f"the model was asked {asked + 1} times (repair={repairs})",)
        fault.fix = fault.fix or "llmcore models"
    raise fault


def _make_repair(call: ChatCall, deadline: Deadline, reply: Reply, fault: MalformedReply) -> ChatCall:
    """Return the call that sends *reply* and its *fault* to the model.

    The new call has the key and the deadline of *call*.
    """
    again: list[Message] = [
        {"role": "assistant", "content": reply.text or "(no text)"},
        {"role": "user", "content": _REQUEST.format(fault=fault.message)},
    ]
    request = msgspec.structs.replace(call.request, messages=[*call.request.messages, *again])
    return ChatCall(
        kind=call.kind,
        backend=call.backend,
        request=request,
        # not *deadline* itself, which `with_fallback` would restart
        deadline=SharedDeadline(deadline.get_time_left),
        key=call.key,
        reads=False,
        ttl=call.ttl,
        refresh=call.refresh,
        model_path=call.model_path,
        timeout_s=call.timeout_s,
        answer_type=call.answer_type,
        user=call.user,
        tags=call.tags,
    )
