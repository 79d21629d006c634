"""Combine the failures of all models of an alias into one error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmcore.calls.backend import Backend
from llmcore.calls.deadline import Deadline
from llmcore.calls.failures import copy_error
from llmcore.errors import LLMCoreError, ProviderError
from llmcore.types import ChatRequest, EmbeddingRequest

__all__ = ["FallbackCall", "combine_failures"]


class FallbackCall(Protocol):
    """A call of any kind to one model."""

    backend: Backend
    deadline: Deadline
    group: str
    has_emitted: bool
    model_path: tuple[str, ...] | None

    @property
    def request(self) -> ChatRequest | EmbeddingRequest:
        """The request, with the model."""
        ...


def combine_failures(calls: Sequence[FallbackCall], failures: Sequence[LLMCoreError]) -> LLMCoreError:
    """Return the error for an alias whose models all failed: the last failure, with the other failures as notes."""
    last = copy_error(failures[-1])
    last.message = f"all {len(failures)} models of {_name_alias(calls[0])} failed; the last: {last.message}"
    last.args = (last.message,)
    last.notes = (
        *(
            f"{call.backend.name}:{call.request.model} failed before: {_format_line(failure)}"
            for call, failure in zip(calls, failures[:-1], strict=False)
        ),
        *last.notes,
    )
    if calls[0].model_path is not None:
        last.where, last.excerpt = calls[0].backend.locate(calls[0].model_path)
    if isinstance(last, ProviderError):
        last.failures = tuple(failure for failure in failures if isinstance(failure, ProviderError))
    return last


def _name_alias(call: FallbackCall) -> str:
    return f"`{call.model_path[-1]}`" if call.model_path else "the list"


def _format_line(failure: LLMCoreError) -> str:
    """Return one failure on one line: code, message, attempts."""
    tried = ""
    if isinstance(failure, ProviderError) and failure.elapsed_s is not None:
        times = "1 attempt" if failure.attempts == 1 else f"{failure.attempts} attempts"
        tried = f" ({times} in {failure.elapsed_s:.1f} s)"
    return f"[{failure.code}] {failure.message}{tried}"
