"""The methods of `LLMClient` that return only the text of an answer, under the names that existing code uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.types import Reply

__all__ = ["TextAnswers"]


class TextAnswers(ABC):
    """Adds methods that return the text of a reply."""

    @abstractmethod
    def chat(self, *args: Any, **given: Any) -> Reply:
        """Return the whole answer; see `LLMClient.chat`."""

    @abstractmethod
    async def achat(self, *args: Any, **given: Any) -> Reply:
        """See `chat`."""

    def generate_completion(
        self, prompt: str, temperature: float | None = None, max_tokens: int | None = None, **given: Any
    ) -> str:
        """Return the text of the answer to one prompt, or the text of a refusal. The errors are those of `chat`."""
        with PUBLIC_CALL:
            return _get_text(self.chat(prompt, **given, **_find_sampling(temperature, max_tokens)))

    async def agenerate_completion(
        self, prompt: str, temperature: float | None = None, max_tokens: int | None = None, **given: Any
    ) -> str:
        """See `generate_completion`."""
        with PUBLIC_CALL:
            return _get_text(await self.achat(prompt, **given, **_find_sampling(temperature, max_tokens)))

    def generate_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **given: Any,
    ) -> str:
        """Return the text of the answer to a conversation. The errors are those of `chat`."""
        with PUBLIC_CALL:
            return _get_text(self.chat(messages=messages, **given, **_find_sampling(temperature, max_tokens)))

    async def agenerate_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        temperature: float | None = None,
        max_tokens: int | None = None,
        **given: Any,
    ) -> str:
        """See `generate_chat`."""
        with PUBLIC_CALL:
            return _get_text(
                await self.achat(messages=messages, **given, **_find_sampling(temperature, max_tokens))
            )


def _find_sampling(temperature: float | None, max_tokens: int | None) -> dict[str, Any]:
    """Return the parameters that are not None."""
    given = {"temperature": temperature, "max_tokens": max_tokens}
    return {name: value for name, value in given.items() if value is not None}


def _get_text(reply: Reply) -> str:
    """Return the text of the answer, or the text of a refusal."""
    return reply.text or reply.refusal or ""
