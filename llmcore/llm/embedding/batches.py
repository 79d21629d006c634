"""Divide texts into requests within the vendor's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_offline
from llmcore.errors import BadRequest, PluginError
from llmcore.types import EmbeddingLimits, TokenCount

__all__ = ["bound_tokens", "check_lengths", "count_tokens", "get_limits", "split"]

_DEFAULT: Final = EmbeddingLimits(max_texts=128)
"""The limits of a provider that does not report limits."""


def get_limits(backend: Backend, model: str) -> EmbeddingLimits:
    """Return the limits of one request. Nothing is sent.

    Raises:
        PluginError: The provider returned a value of another type.
    """
    method = getattr(backend.offline, "embedding_limits", None)
    if method is None:
        return _DEFAULT
    limits = call_offline(backend, method, model)
    if isinstance(limits, EmbeddingLimits):
        return limits
    raise PluginError(
        f"`embedding_limits` of the llm provider `{backend.name}` returned a {type(limits).__name__}",
        expected="a llmcore.types.EmbeddingLimits",
        fix=f"llmcore plugins check {backend.name}",
    )


def count_tokens(backend: Backend, model: str, text: str) -> TokenCount | None:
    """Return the tokens of *text*; None if the provider cannot count."""
    method: Callable[..., Any] | None = getattr(backend.offline, "count_tokens", None)
    if method is None:
        return None
    count = call_offline(backend, method, text, model)
    return count if isinstance(count, TokenCount) else None


def bound_tokens(backend: Backend, model: str, text: str, *, exact: bool) -> int:
    """Return an upper bound of the number of tokens in *text*.

    Every token takes at least one byte, so the size of the text in bytes is an upper bound. With *exact*, the result is
    the provider's count if that count is exact.
    """
    count = count_tokens(backend, model, text) if exact else None
    return int(count) if count is not None and count.exact else len(text.encode())


def check_lengths(backend: Backend, model: str, texts: Sequence[str], limits: EmbeddingLimits) -> None:
    """Raise `BadRequest` for a text that certainly exceeds the model's limit.

    The server checks all other texts.
    """
    most = limits.max_text_tokens
    if most is None:
        return
    for index, text in enumerate(texts):
        if len(text.encode()) > most:
            count = count_tokens(backend, model, text)
            if count is not None and count.exact and count > most:
                raise BadRequest(
                    f"texts[{index}] must have at most {most:,} tokens for `{model}`, got {int(count):,}",
                    provider=backend.name,
                    where=f"texts[{index}]",
                    expected=f"at most {most:,} tokens; divide the text, and embed its parts",
                )


def split(backend: Backend, model: str, texts: Sequence[str], limits: EmbeddingLimits) -> list[list[int]]:
    """Return one list for each request: the indexes of its texts."""
    return list(_split(backend, model, texts, limits))


def _split(
    backend: Backend, model: str, texts: Sequence[str], limits: EmbeddingLimits
) -> Iterator[list[int]]:
    most_texts = limits.max_texts or len(texts)
    most_tokens = limits.max_tokens
    # A text never has more tokens than bytes, so count tokens only if the bytes exceed the limit.
    exact = most_tokens is not None and sum(len(text.encode()) for text in texts[:most_texts]) > most_tokens
    batch: list[int] = []
    tokens = 0
    for index, text in enumerate(texts):
        size = 0 if most_tokens is None else bound_tokens(backend, model, text, exact=exact)
        if batch and (len(batch) == most_texts or (most_tokens is not None and tokens + size > most_tokens)):
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += size
    yield batch
