"""The client for language models: what an application calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import Any, Literal

from llmcore.calls.asking import asked
from llmcore.calls.attempts import Deadline
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.steps import Act
from llmcore.llm.exchange import ChatCall, House
from llmcore.llm.fallback import along
from llmcore.llm.models import Models
from llmcore.llm.request import Prompt, conversation
from llmcore.llm.structured import parsed, wire_format
from llmcore.types import ChatRequest, Delta, Reply, TokenCount

__all__ = ["LLMClient"]

CacheUse = bool | Literal["refresh"]


class LLMClient:
    """Asks the configured language models. Each blocking method has an async twin with the prefix `a`.

    All of `chat`, `stream` and their twins take: a text or a list of messages; `messages=`, a conversation that
    the text continues; `system=`; `model=`, a model, `provider:model` or a name of `[models]`; `cache=` True, False
    or "refresh" (answer afresh and keep it); `user=` and `tags=` for the books, which do not go on the wire;
    `timeout=` seconds in place of the configured deadline; and any parameter that the provider declares.
    """

    def __init__(self, models: Models, house: House) -> None:
        self._models = models
        self._house = house

    def chat(self, prompt: Prompt = None, **given: Any) -> Reply:
        """Return the answer.

        Raises:
            BadRequest: The prompt or a parameter is not acceptable; nothing was sent.
            ProviderError: The backend refused or failed, after the attempts that the configuration allows.
            ConfigError: The provider's options do not fit, or its key is missing.
        """
        return run(self._chat(prompt, given))

    async def achat(self, prompt: Prompt = None, **given: Any) -> Reply:
        """See `chat`."""
        return await arun(self._chat(prompt, given))

    def stream(self, prompt: Prompt = None, **given: Any) -> Iterator[Delta]:
        """Yield the answer as it arrives; the last piece bears `finish_reason` and `usage`. Raises as `chat`."""
        return iterate(self._prepared(prompt, given, streaming=True)[0])

    def astream(self, prompt: Prompt = None, **given: Any) -> AsyncIterator[Delta]:
        """See `stream`."""
        return aiterate(self._prepared(prompt, given, streaming=True)[0])

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

    def models(self, provider: str | None = None) -> list[str]:
        """Return the names of the models on offer, as the backend lists them; None asks the configured provider."""
        return run(self._listed(provider))

    async def amodels(self, provider: str | None = None) -> list[str]:
        """See `models`."""
        return await arun(self._listed(provider))

    # -- once for both colours

    def _chat(self, prompt: Prompt, given: dict[str, Any]) -> Act[Reply]:
        calls, kind = self._prepared(prompt, given, streaming=False)
        reply: Reply = yield from calls
        return reply if kind is None else parsed(reply, kind)

    def _listed(self, provider: str | None) -> Act[list[str]]:
        backend = self._models.backend(provider)
        return list((yield from asked(backend, backend.must("list_models")())))

    def _prepared(
        self, prompt: Prompt, given: dict[str, Any], *, streaming: bool
    ) -> tuple[Generator[Any, Any, Reply], type | None]:
        """Check everything that can be checked before anything is sent."""
        parameters = dict(given)
        messages = conversation(prompt, parameters.pop("messages", None), parameters.pop("system", None))
        model: str | None = parameters.pop("model", None)
        cache: CacheUse = parameters.pop("cache", True)
        timeout: float | None = parameters.pop("timeout", None)
        user: str | None = parameters.pop("user", None)
        tags = parameters.pop("tags", ())
        kind: type | None = None
        if parameters.get("response_format") is not None:
            parameters["response_format"], kind = wire_format(parameters["response_format"])
        deadline = Deadline(self._house.policy.deadline_s if timeout is None else timeout)
        calls = []
        for target in self._models.targets(model):
            request = ChatRequest(
                model=target.model, messages=messages, parameters=target.checked(parameters)
            )
            calls.append(
                ChatCall(
                    backend=target.backend,
                    request=request,
                    deadline=deadline,
                    key=target.key(request) if cache else None,
                    reads=cache != "refresh",
                    streaming=streaming,
                    user=user,
                    tags=(tags,) if isinstance(tags, str) else tuple(tags),
                )
            )
        return along(calls, self._house), kind
