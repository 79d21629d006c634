"""The client for language models: what an application calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from llmcore.calls.asking import asked
from llmcore.calls.attempts import Deadline
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.steps import Act
from llmcore.calls.texts import labelled, who
from llmcore.ledger.prices import cost_at, known_price
from llmcore.llm.call import ChatCall, House
from llmcore.llm.exchange import known
from llmcore.llm.fallback import along
from llmcore.llm.models import Models
from llmcore.llm.request import CacheUse, Prompt, cache_use, conversation, part, seconds
from llmcore.llm.structured import parsed, wire_format
from llmcore.types import ChatRequest, Delta, Reply, TokenCount, Usage

__all__ = ["LLMClient"]


class Ask(msgspec.Struct, frozen=True):
    """What the caller of `chat` or `stream` wrote."""

    prompt: Prompt
    messages: Sequence[Mapping[str, Any]] | None
    system: str | None
    model: str | None
    cache: CacheUse
    user: str | None
    tags: str | Sequence[str]
    timeout: float | str | timedelta | None
    cache_ttl: float | str | timedelta | None
    cache_namespace: str | None
    cache_refresh: float | None
    parameters: dict[str, Any]


class LLMClient:
    """Asks the configured language models. Each blocking method has an async twin with the prefix `a`."""

    def __init__(self, models: Models, house: House, *, refresh: float | None = None) -> None:
        self._models = models
        self._house = house
        self._refresh = refresh

    def chat(
        self,
        prompt: Prompt = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        model: str | None = None,
        cache: CacheUse = True,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        timeout: float | str | timedelta | None = None,
        cache_ttl: float | str | timedelta | None = None,
        cache_namespace: str | None = None,
        cache_refresh: float | None = None,
        **parameters: Any,
    ) -> Reply:
        """Return the answer.

        Args:
            prompt: A text, or a list of messages in the shape of Chat Completions.
            messages: A conversation, which the text continues.
            system: Instructions, spoken first.
            model: A model, `provider:model`, or a name of `[models]`; None takes the configured one.
            cache: True, False, or "refresh" to answer afresh and keep the answer.
            user: For the books; not on the wire, and not in the cache's key.
            tags: For the books, as *user*.
            timeout: Seconds, or "30s", in place of the configured deadline.
            cache_ttl: How long this answer is kept: seconds, "1h"; None takes the configured time.
            cache_namespace: Keeps answers apart from those of other namespaces; None takes the configured one.
            cache_refresh: Between 0 and 1: after this part of its time, the answer is still given while it is asked for
                anew in the background; None takes the configured part.
            parameters: Any that the provider declares: `temperature`, `max_tokens`, `tools`, `response_format`, ...

        Raises:
            BadRequest: The prompt or a parameter is not acceptable; nothing was sent.
            ProviderError: The backend refused or failed, after the attempts that the configuration allows.
            ConfigError: The provider's options do not fit, or its key is missing.
        """
        reply = self._chat(
            Ask(
                prompt,
                messages,
                system,
                model,
                cache,
                user,
                tags,
                timeout,
                cache_ttl,
                cache_namespace,
                cache_refresh,
                parameters,
            )
        )
        return reply if isinstance(reply, Reply) else run(reply)

    async def achat(
        self,
        prompt: Prompt = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        model: str | None = None,
        cache: CacheUse = True,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        timeout: float | str | timedelta | None = None,  # noqa: ASYNC109 - of all attempts together, which the host holds
        cache_ttl: float | str | timedelta | None = None,
        cache_namespace: str | None = None,
        cache_refresh: float | None = None,
        **parameters: Any,
    ) -> Reply:
        """See `chat`."""
        reply = self._chat(
            Ask(
                prompt,
                messages,
                system,
                model,
                cache,
                user,
                tags,
                timeout,
                cache_ttl,
                cache_namespace,
                cache_refresh,
                parameters,
            )
        )
        return reply if isinstance(reply, Reply) else await arun(reply)

    def stream(
        self,
        prompt: Prompt = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        model: str | None = None,
        cache: CacheUse = True,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        timeout: float | str | timedelta | None = None,
        cache_ttl: float | str | timedelta | None = None,
        cache_namespace: str | None = None,
        cache_refresh: float | None = None,
        **parameters: Any,
    ) -> Generator[Delta, None, None]:
        """Yield the answer as it arrives; the last piece bears `finish_reason` and `usage`. Otherwise as `chat`."""
        return iterate(
            self._streamed(
                Ask(
                    prompt,
                    messages,
                    system,
                    model,
                    cache,
                    user,
                    tags,
                    timeout,
                    cache_ttl,
                    cache_namespace,
                    cache_refresh,
                    parameters,
                )
            )
        )

    def astream(
        self,
        prompt: Prompt = None,
        *,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        model: str | None = None,
        cache: CacheUse = True,
        user: str | None = None,
        tags: str | Sequence[str] = (),
        timeout: float | str | timedelta | None = None,
        cache_ttl: float | str | timedelta | None = None,
        cache_namespace: str | None = None,
        cache_refresh: float | None = None,
        **parameters: Any,
    ) -> AsyncGenerator[Delta, None]:
        """See `stream`."""
        return aiterate(
            self._streamed(
                Ask(
                    prompt,
                    messages,
                    system,
                    model,
                    cache,
                    user,
                    tags,
                    timeout,
                    cache_ttl,
                    cache_namespace,
                    cache_refresh,
                    parameters,
                )
            )
        )

    def generate_completion(self, prompt: str, **given: Any) -> str:
        """Return the text of the answer to one prompt. Raises as `chat`."""
        return self.chat(prompt, **given).text

    async def agenerate_completion(self, prompt: str, **given: Any) -> str:
        """See `generate_completion`."""
        return (await self.achat(prompt, **given)).text

    def generate_chat(self, messages: Sequence[Mapping[str, Any]], **given: Any) -> str:
        """Return the text of the answer to a conversation. Raises as `chat`."""
        return self.chat(messages=messages, **given).text

    async def agenerate_chat(self, messages: Sequence[Mapping[str, Any]], **given: Any) -> str:
        """See `generate_chat`."""
        return (await self.achat(messages=messages, **given)).text

    def count_tokens(
        self,
        content: str | Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        model: str | None = None,
        **given: Any,
    ) -> TokenCount:
        """Count, without asking anybody, what the server would count.

        Args:
            content: A text (its tokens alone, without a message around it), messages, or a recorded request body.
            model: As in `chat`.
            given: Parameters that count too, such as `tools`.

        Raises:
            PluginError: The provider cannot count.
        """
        return self._models.count(content, model, given)

    def price(
        self, usage: Usage, *, model: str | None = None, service_tier: str | None = None
    ) -> Decimal | None:
        """Return what *usage* costs in USD now, by `[prices]` first; None where nobody knows.

        Args:
            usage: What is to be paid.
            model: As in `chat`; of a list, the first.
            service_tier: As the provider names it; None is what its options say.
        """
        target = self._models.targets(model)[0]
        own = self._house.prices.get(f"{target.backend.name}:{target.model}")
        if own is not None:
            return cost_at(own, usage)
        return known_price(target.backend.offline, target.model, usage, service_tier)

    def models(self, provider: str | None = None) -> list[str]:
        """Return the names of the models on offer, as the backend lists them; None asks the configured provider."""
        return run(self._listed(provider))

    async def amodels(self, provider: str | None = None) -> list[str]:
        """See `models`."""
        return await arun(self._listed(provider))

    # -- once for both colours

    def _chat(self, ask: Ask) -> Reply | Act[Reply]:
        """Return the answer, where this process's own memory has it, or the call that gets it."""
        calls, kind = self._prepared(ask, streaming=False)
        reply = known(calls[0], self._house)
        if reply is None:
            return self._got(calls, kind)
        return reply if kind is None else parsed(reply, kind)

    def _got(self, calls: list[ChatCall], kind: type | None) -> Act[Reply]:
        reply = yield from along(calls, self._house)
        return reply if kind is None else parsed(reply, kind)

    def _streamed(self, ask: Ask) -> Generator[Any, Any, Reply]:
        calls, _ = self._prepared(ask, streaming=True)
        return along(calls, self._house)

    def _listed(self, provider: str | None) -> Act[list[str]]:
        backend = self._models.backend(provider)
        return list((yield from asked(backend, backend.must("list_models")())))

    def _prepared(self, ask: Ask, *, streaming: bool) -> tuple[list[ChatCall], type | None]:
        """Check everything that can be checked before anything is sent."""
        messages = conversation(ask.prompt, ask.messages, ask.system)
        parameters, kind = ask.parameters, None
        if parameters.get("response_format") is not None:
            parameters["response_format"], kind = wire_format(parameters["response_format"])
        cache = cache_use(ask.cache)
        user = None if ask.user is None else who(ask.user)
        tags = () if ask.tags == () else labelled(ask.tags)
        allowed = self._house.policy.deadline_s if ask.timeout is None else seconds(ask.timeout, "timeout")
        deadline = Deadline(allowed)
        ttl = None if ask.cache_ttl is None else seconds(ask.cache_ttl, "cache_ttl")
        refresh = self._refresh
        if ask.cache_refresh is not None:
            refresh = part(ask.cache_refresh, self._house.cache.ttl if ttl is None else ttl, "cache_refresh")
        calls: list[ChatCall] = []
        for target in self._models.targets(ask.model):
            request = ChatRequest(
                model=target.model, messages=messages, parameters=target.checked(parameters)
            )
            calls.append(
                ChatCall(
                    backend=target.backend,
                    request=request,
                    deadline=deadline,
                    key=target.key(request, ask.cache_namespace) if cache else None,
                    reads=cache != "refresh",
                    ttl=ttl,
                    refresh=refresh,
                    kind=kind,
                    streaming=streaming,
                    user=user,
                    tags=tags,
                )
            )
        return calls, kind
