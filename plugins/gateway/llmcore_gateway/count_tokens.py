"""`/v1/messages/count_tokens`: the tokens of a request, without sending it."""

from __future__ import annotations

from typing import Any

from llmcore_gateway.exchange import Answer, Caller, make_json
from llmcore_gateway.faults import Refused
from llmcore_gateway.gateway import Gateway

__all__ = ["count_tokens"]


def count_tokens(gateway: Gateway, body: dict[str, Any], caller: Caller) -> Answer:
    """Return the number of input tokens of *body*, a request of the Messages API.

    Raises:
        Refused: The body has no messages, or *caller* may not request its model.
    """
    model = gateway.models.check(body.get("model"), caller)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(
            400, "invalid_request_error", "`messages` must be a list that is not empty", param="messages"
        )
    given = {name: body[name] for name in ("tools", "tool_choice") if body.get(name)}
    if body.get("system"):
        messages = [{"role": "system", "content": body["system"]}, *messages]
    count = gateway.core.llm.count_tokens(messages, model=model, **given)
    return make_json({"input_tokens": int(count)})
