"""The methods of `LLMClient` that count tokens, on this machine or by the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.calls.backend_call import call_backend
from llmcore.calls.deadline import Deadline
from llmcore.calls.drivers import arun, run
from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import CHECKPOINT, Act
from llmcore.calls.text_arguments import check_model
from llmcore.llm.models import Models, Target, count_request
from llmcore.llm.options import Api
from llmcore.llm.request import EXTRA_BODY, normalise_extra_body, normalise_parameters
from llmcore.llm.wire_request import check_api, make_request, read_body
from llmcore.pipeline import Services
from llmcore.types import ChatRequest, TokenCount

__all__ = ["CountMethods"]


class CountMethods:
    """Adds `count_tokens` and `acount_tokens`."""

    _models: Models
    _services: Services

    def count_tokens(
        self,
        content: str | Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        model: str | None = None,
        api: Api = "chat",
        on_server: bool = False,
        **given: Any,
    ) -> TokenCount:
        """Count tokens as the server would count them.

        Args:
            content: A text, messages, or a request body. A text is counted without the tokens of a message
                around it, unless *on_server* is True.
            model: As in `chat`. For an alias, its first model is used.
            api: The format of a request body. If the provider uses another format, the body is translated.
            on_server: True asks the server, if the provider supports this. Such a count is exact and free. The server
                counts a text as a message, and the request waits for `[limits]`. If False, or if the provider does
                not support it, the tokens are counted on this machine and nothing is sent.
            given: Parameters that add tokens, such as `tools`.

        Raises:
            BadRequest: *content* is malformed, or cannot be translated.
            ProviderError: The server refused or failed, or the rate limits permit no request before the deadline.
            PluginError: The provider cannot count.
        """
        with PUBLIC_CALL:
            return run(self._count(content, model, api, given, on_server=on_server))

    async def acount_tokens(
        self,
        content: str | Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        model: str | None = None,
        api: Api = "chat",
        on_server: bool = False,
        **given: Any,
    ) -> TokenCount:
        """See `count_tokens`."""
        with PUBLIC_CALL:
            return await arun(self._count(content, model, api, given, on_server=on_server))

    def _count(
        self, content: Any, model: str | None, api: Api, given: dict[str, Any], *, on_server: bool
    ) -> Act[TokenCount]:
        check_api(api, streaming=True)  # also refuses "embeddings", which cannot be counted
        extra_body = given.pop(EXTRA_BODY, None)
        if given.get("response_format") is not None:
            from llmcore.llm.structured_output import (
                make_wire_format,  # imported here: a chat does not need it
            )

            given["response_format"], _ = make_wire_format(given["response_format"])
        extra = {} if extra_body is None else normalise_extra_body(extra_body)
        parameters = normalise_parameters(given) | extra
        if api == "chat" and not on_server:
            return self._models.count(content, model, parameters)
        target, request = self._make_request(content, model, api, parameters)
        if on_server and target.backend.find_ability("count_on_server") is not None:
            return (yield from self._count_on_server(target, request))
        return count_request(target.backend, request)

    def _count_on_server(self, target: Target, request: ChatRequest) -> Act[TokenCount]:
        """Let the server count *request* when the rate limits permit it. Counting is free, so budgets ignore it."""
        limits, deadline = self._services.limits, Deadline(self._services.policy.deadline_s)
        permit = yield from limits.acquire(target.backend.name, target.model, 0, deadline.get_time_left)
        try:
            yield CHECKPOINT
            counting = target.backend.require("count_on_server")(request)
            count: TokenCount = yield from call_backend(target.backend, counting)
            return count
        finally:
            limits.release(permit, 0)

    def _make_request(
        self, content: Any, model: str | None, api: Api, parameters: Mapping[str, Any]
    ) -> tuple[Target, ChatRequest]:
        """Return the first model and the request to count."""
        if api != "chat":
            wire = read_body(
                {**content, **parameters} if isinstance(content, Mapping) else content,
                api=api,
                streaming=False,
            )
            target = self._find_target(wire.model if model is None else model)
            return target, make_request(wire, api, target)
        from llmcore.llm.countable import make_countable

        text = [{"role": "user", "content": content}] if isinstance(content, str) else content
        wanted = make_countable(text, parameters)
        target = self._find_target(wanted.model if model is None else model)
        return target, ChatRequest(
            model=target.model,
            messages=wanted.messages or (),
            parameters=target.merge_parameters(wanted.parameters, None),
        )

    def _find_target(self, model: str | None) -> Target:
        return self._models.find_targets(None if model is None else check_model(model))[0]
