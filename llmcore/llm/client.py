"""The client for language models that an application calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from llmcore.calls.backend_call import call_backend
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act
from llmcore.calls.text_arguments import check_model
from llmcore.ledger.prices import compute_cost, find_price, get_provider_cost
from llmcore.llm.batch.client import BatchMethods
from llmcore.llm.call import ChatCall
from llmcore.llm.call_options import CallOptions, take_call_options
from llmcore.llm.counting import CountMethods
from llmcore.llm.embedding.client import EmbeddingMethods
from llmcore.llm.fallback import with_fallback
from llmcore.llm.kind import CHAT
from llmcore.llm.models import Models, Target
from llmcore.llm.options import Api, ChatOptions, Prompt, ResponseFormat, SendOptions, T
from llmcore.llm.request import (
    EXTRA_BODY,
    build_messages,
    normalise_extra_body,
    normalise_parameters,
)
from llmcore.llm.text_answers import TextAnswers
from llmcore.llm.wire_request import WireRequest, check_api, check_arguments, make_request, read_body
from llmcore.pipeline import Services
from llmcore.pipeline.cache import peek
from llmcore.process_bound import ProcessBound
from llmcore.threads import TIME_LEFT
from llmcore.types import Delta, Reply, Usage, WireEvent

if TYPE_CHECKING:
    from llmcore.config.money import Budget

__all__ = ["LLMClient"]

_HAS_CONTENT: Final = attrgetter("has_content")
"""Selects the deltas to yield. A delta that adds nothing to the answer is not yielded."""


class LLMClient(TextAnswers, EmbeddingMethods, BatchMethods, CountMethods, ProcessBound):
    """Calls the configured language models. Each blocking method has an async version with the prefix `a`."""

    def __init__(self, models: Models, services: Services, *, refresh: float | None = None) -> None:
        self._models = models
        self._services = services
        self._refresh = refresh

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._models!r}>"

    def chat(
        self,
        prompt: Prompt = None,
        *,
        response_format: ResponseFormat[T] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Reply[T]:
        """Return the answer.

        Args:
            prompt: A text, or a list of messages in the format of Chat Completions.
            response_format: The type into which the answer is parsed (`Reply.parsed`): a dataclass,
                TypedDict, msgspec structure or pydantic model, or a list or union of these. Or a JSON schema.
            options: Parameters of the model that the provider declares (`temperature`, `max_tokens`, `tools`,
                ...), and:

                - `messages`: A conversation, to which *prompt* is appended.
                - `system`: Instructions, placed first.
                - `model`: A model, `provider:model`, or a name of `[models]`; None means the configured one.
                - `cache`: True, False, or "refresh" to request the answer again and cache it.
                - `user`: Recorded in the ledger; not sent, and not a part of the cache key.
                - `tags`: Recorded in the ledger, like *user*.
                - `timeout`: Seconds, or "30s"; replaces the configured deadline.
                - `cache_ttl`: The lifetime of this answer in the cache: seconds, or "1h"; None means the configured TTL.
                - `cache_namespace`: Answers are shared only within a namespace; None means the configured namespace.
                - `cache_refresh`: A fraction between 0 and 1. After this fraction of the TTL, a cached answer is still
                    returned, and a new answer is requested in the background (stale-while-revalidate). None
                    uses the configured fraction.
                - `repair`: The number of times to ask again if the answer does not fit *response_format*. The model gets its
                    answer back, with the errors that were found. Each request is booked separately.
                - `extra_body`: Parameters that only some servers know, sent as part of the body: `{"top_k": 5}`.
                    They override arguments of the same name, and both override `extra_body` in the provider's table.

        Raises:
            BadRequest: The prompt or a parameter is not valid; nothing was sent.
            ProviderError: The backend refused the request, or failed in every configured attempt.
            ConfigError: An option of the provider is not valid, or its key is missing.
        """
        with PUBLIC_CALL:
            reply = self._chat(prompt, response_format, options)
            return reply if isinstance(reply, Reply) else run(reply)

    async def achat(
        self,
        prompt: Prompt = None,
        *,
        response_format: ResponseFormat[T] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Reply[T]:
        """See `chat`."""
        with PUBLIC_CALL:
            reply = self._chat(prompt, response_format, options)
            return reply if isinstance(reply, Reply) else await arun(reply)

    def stream(
        self, prompt: Prompt = None, *, response_format: Any = None, **options: Unpack[ChatOptions]
    ) -> Generator[Delta, None, None]:
        """Yield the answer as it arrives; the last piece has `finish_reason` and `usage`.

        Arguments and errors are those of `chat`.
        """
        with PUBLIC_CALL:
            return iterate(self._stream(prompt, response_format, options), keep=_HAS_CONTENT)

    def astream(
        self, prompt: Prompt = None, *, response_format: Any = None, **options: Unpack[ChatOptions]
    ) -> AsyncGenerator[Delta, None]:
        """See `stream`."""
        with PUBLIC_CALL:
            return aiterate(self._stream(prompt, response_format, options), keep=_HAS_CONTENT)

    def send(
        self, body: Mapping[str, Any], *, api: Api = "chat", **options: Unpack[SendOptions]
    ) -> Reply[Any]:
        """Return the answer to a request body in a vendor's format; `Reply.raw` is the answer in the same format.

        Cache, budgets, limits, retries and fallback work as in `chat`. An equal `chat` has the same cache entry.

        Args:
            body: A request body of *api*. All fields are sent, even parameters that the provider does not
                declare; only `stream` is ignored. `model` is a model, `provider:model` or a name of
                `[models]`; without this field, the configured model answers. The field `user` is sent to the server;
                only the option `user` is recorded in the ledger.
            api: The format of *body*: "chat", "responses", "messages" or "embeddings". If the model's
                provider does not accept this format, the request and the answer are translated.
            options: As in `chat`: `model` (overrides the field in *body*), `cache`, `user`, `tags`,
                `timeout`, `cache_ttl`, `cache_namespace`, `cache_refresh`.

        Raises:
            BadRequest: The body or an argument is not valid, or a field cannot be translated; nothing was
                sent.
            ProviderError: As in `chat`.
            ConfigError: As in `chat`.
        """
        with PUBLIC_CALL:
            reply = self._send(body, api, options)
            return _complete_document(reply if isinstance(reply, Reply) else run(reply), api)

    async def asend(
        self, body: Mapping[str, Any], *, api: Api = "chat", **options: Unpack[SendOptions]
    ) -> Reply[Any]:
        """See `send`."""
        with PUBLIC_CALL:
            reply = self._send(body, api, options)
            return _complete_document(reply if isinstance(reply, Reply) else await arun(reply), api)

    def send_stream(
        self, body: Mapping[str, Any], *, api: Api = "chat", **options: Unpack[SendOptions]
    ) -> Generator[WireEvent, None, None]:
        """Yield the events of the answer as the backend sends them, in the format of *api*.

        Arguments and errors are those of `send`. Answers from the cache, and streams of providers that use another format,
        are converted to this format.
        """
        with PUBLIC_CALL:
            return iterate(self._send_stream(body, api, options))

    def asend_stream(
        self, body: Mapping[str, Any], *, api: Api = "chat", **options: Unpack[SendOptions]
    ) -> AsyncGenerator[WireEvent, None]:
        """See `send_stream`."""
        with PUBLIC_CALL:
            return aiterate(self._send_stream(body, api, options))

    def price(
        self, usage: Usage, *, model: str | None = None, service_tier: str | None = None
    ) -> Decimal | None:
        """Return the price of *usage* in USD; None if unknown.

        `[prices]` takes precedence over the provider's prices.

        Args:
            usage: The tokens to price.
            model: As in `chat`. For an alias, its first model is priced.
            service_tier: The provider's name of the tier; None means the tier in the provider's options.
        """
        with PUBLIC_CALL:
            target = self._models.find_targets(model)[0]
            own = find_price(self._services.prices, target.backend.name, target.model)
            if own is not None:
                return compute_cost(own, usage)
            return get_provider_cost(target.backend.offline, target.model, usage, service_tier)

    def resolve(self, model: str | None = None) -> list[str]:
        """Return the models of the alias or name *model* as `provider:model`, in fallback order.

        Nothing is sent.
        """
        with PUBLIC_CALL:
            return [f"{target.backend.name}:{target.model}" for target in self._models.find_targets(model)]

    def models(self, provider: str | None = None) -> list[str]:
        """Return the names of the models of *provider*, or of the configured provider if *provider* is None."""
        with PUBLIC_CALL:
            return run(self._list_models(provider))

    async def amodels(self, provider: str | None = None) -> list[str]:
        """See `models`."""
        with PUBLIC_CALL:
            return await arun(self._list_models(provider))

    def context_length(self, model: str | None = None) -> int | None:
        """Return how many tokens fit into the context of *model*, prompt and answer together.

        The result is None if the server does not report the length.

        Raises:
            PluginError: The provider cannot ask its server.
        """
        with PUBLIC_CALL:
            return run(self._find_context_length(model))

    async def acontext_length(self, model: str | None = None) -> int | None:
        """See `context_length`."""
        with PUBLIC_CALL:
            return await arun(self._find_context_length(model))

    # -- shared by sync and async

    def _chat(self, prompt: Prompt, response_format: Any, options: ChatOptions) -> Reply | Act[Reply]:
        """Return the answer from the memory tier; on a miss, return the call that requests the answer."""
        calls, kind, repairs = self._prepare(prompt, response_format, options, streaming=False)
        reply = peek(calls[0], self._services)
        if kind is None:
            return with_fallback(calls, self._services) if reply is None else reply
        from llmcore.llm.repair import parse_or_repair  # imported here: a plain chat does not need it
        from llmcore.llm.structured_output import parse_reply

        if reply is not None and not repairs:
            return parse_reply(reply, kind)
        return parse_or_repair(calls, kind, repairs, self._services, reply)

    def _stream(
        self, prompt: Prompt, response_format: Any, options: ChatOptions
    ) -> Generator[Any, Any, Reply]:
        calls, _, _ = self._prepare(prompt, response_format, options, streaming=True)
        return with_fallback(calls, self._services)

    def _send(self, body: Mapping[str, Any], api: Api, options: SendOptions) -> Reply | Act[Reply]:
        if api == "embeddings":
            return self._send_embeddings(body, options)
        calls = self._prepare_body(body, api, options, streaming=False)
        reply = peek(calls[0], self._services)
        return with_fallback(calls, self._services) if reply is None else reply

    def _send_embeddings(self, body: Mapping[str, Any], options: SendOptions) -> Act[Reply]:
        from llmcore.llm.embedding.wire import send_embeddings

        given = cast("dict[str, Any]", options)
        check_arguments(given, SendOptions.__optional_keys__)
        return send_embeddings(self._models, self._services, body, given.pop("model", None), given)

    def _send_stream(
        self, body: Mapping[str, Any], api: Api, options: SendOptions
    ) -> Generator[Any, Any, None]:
        from llmcore.llm.wire_events import write_events

        calls = self._prepare_body(body, api, options, streaming=True)
        return write_events(with_fallback(calls, self._services), api)

    async def _send_body(
        self, body: Mapping[str, Any], options: dict[str, Any], prepare: Callable[[ChatCall], object]
    ) -> Reply[Any]:
        calls = self._plan_body(body, options)
        for call in calls:
            prepare(call)
        found = peek(calls[0], self._services)
        return await arun(with_fallback(calls, self._services)) if found is None else found

    def _plan_body(self, body: Mapping[str, Any], options: dict[str, Any]) -> list[ChatCall]:
        return self._prepare_body(body, "chat", cast("SendOptions", options), streaming=False)

    def _set_run_budget(self, tag: str, budget: Budget | None) -> None:
        self._services.spending().set_run_budget(tag, budget)

    def _list_models(self, provider: str | None) -> Act[list[str]]:
        backend = self._models.get_backend(provider)
        return list((yield from call_backend(backend, backend.require("list_models")())))

    def _find_context_length(self, model: str | None) -> Act[int | None]:
        target = self._models.find_targets(None if model is None else check_model(model))[0]
        ability = target.backend.require("context_length")
        length: int | None = yield from call_backend(target.backend, ability(target.model))
        return length

    def _prepare(
        self, prompt: Prompt, response_format: Any, options: ChatOptions, *, streaming: bool
    ) -> tuple[list[ChatCall], Any, int]:
        """Check the arguments. Return the calls (one for each model), the type of the parsed answer, and `repair`."""
        given = cast("dict[str, Any]", options)
        take = given.pop
        messages = build_messages(prompt, take("messages", None), take("system", None))
        model, extra_body, repair = take("model", None), take("extra_body", None), take("repair", 0)
        own = take_call_options(given, self._services, self._refresh)
        targets = self._find_targets(model, own)
        parameters, extra, kind = _check_parameters(given, response_format, extra_body, targets)
        repairs = 0
        if repair:
            from llmcore.llm.repair import check_repair

            repairs = check_repair(repair, kind, streaming=streaming)
        calls: list[ChatCall] = []
        for target in targets:
            request = make_request(WireRequest(None, messages, parameters), "chat", target, extra)
            calls.append(own.make_call(CHAT, target, request, streaming=streaming, answer_type=kind))
        return calls, kind, repairs

    def _find_targets(self, model: str | None, own: CallOptions) -> Sequence[Target]:
        """Return the models of a call.

        Importing the plugins of the models counts against the deadline of the call.
        """
        token = TIME_LEFT.set(own.deadline.get_time_left)
        try:
            return self._models.find_targets(None if model is None else check_model(model))
        finally:
            TIME_LEFT.reset(token)

    def _prepare_body(
        self, body: Mapping[str, Any], api: Api, options: SendOptions, *, streaming: bool
    ) -> list[ChatCall]:
        """Check and normalise a request body, and return one call for each model to try."""
        from llmcore.llm.wire_kind import WIRE

        given = cast("dict[str, Any]", options)
        check_api(api, streaming=streaming)
        check_arguments(given, SendOptions.__optional_keys__)
        model = given.pop("model", None)
        own = take_call_options(given, self._services, self._refresh)
        wire = read_body(body, api=api, streaming=streaming)
        model = wire.model if model is None else model
        calls: list[ChatCall] = []
        for target in self._find_targets(model, own):
            call = own.make_call(WIRE, target, make_request(wire, api, target), streaming=streaming)
            call.events_api = api
            calls.append(call)
        return calls


def _complete_document(reply: Reply[Any], api: Api) -> Reply[Any]:
    from llmcore.llm.documents import complete_document

    return complete_document(reply, api)


def _check_parameters(
    options: Mapping[str, Any],
    response_format: Any,
    extra_body: Mapping[str, Any] | None,
    targets: Sequence[Target],
) -> tuple[dict[str, Any], dict[str, Any] | None, Any]:
    """Return the parameters and the extra body as plain JSON values, and the type of the answer.

    Raises:
        BadRequest: One of *targets* does not declare a parameter, or a value is not valid.
    """
    given: Mapping[str, Any] = options
    if response_format is not None:
        given = {**options, "response_format": response_format}
    if not given and extra_body is None:
        return {}, None, None
    for target in targets:
        target.check(given)
        if extra_body is not None:
            target.check({EXTRA_BODY: extra_body})
    kind = None
    if response_format is not None:
        from llmcore.llm.structured_output import make_wire_format

        wire, kind = make_wire_format(response_format)
        given = {**given, "response_format": wire}
    extra = None if extra_body is None else normalise_extra_body(extra_body)
    return normalise_parameters(given), extra, kind
