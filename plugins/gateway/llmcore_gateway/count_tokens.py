"""`/v1/messages/count_tokens`: the tokens of a request, without generating an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from llmcore_gateway.gateway import Gateway
from llmcore_gateway.http_messages import Answer, Caller, make_json

__all__ = ["CountCall"]


class CountCall:
    """One request to count tokens. The vendor's server counts if the provider supports that; otherwise this machine counts."""

    api = "messages"
    """The API that determines the format of errors."""
    streaming = False
    content_type = "application/json"

    def __init__(self, gateway: Gateway, body: dict[str, Any], caller: Caller) -> None:
        self.model = gateway.models.check(body.get("model"), caller)
        self._llm = gateway.core.llm
        self._body = body

    def run(self) -> Answer:
        """Return the number of input tokens."""
        return _make_answer(
            self._llm.count_tokens(self._body, api="messages", model=self.model, on_server=True)
        )

    async def arun(self) -> Answer:
        """See `run`."""
        return _make_answer(
            await self._llm.acount_tokens(self._body, api="messages", model=self.model, on_server=True)
        )

    def stream(self) -> Generator[bytes, None, None]:
        """Raise NotImplementedError: a count is not streamed."""
        raise NotImplementedError

    def astream(self) -> AsyncGenerator[bytes, None]:
        """Raise NotImplementedError: a count is not streamed."""
        raise NotImplementedError


def _make_answer(count: int) -> Answer:
    return make_json({"input_tokens": int(count)})
