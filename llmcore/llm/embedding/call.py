"""A request for embeddings and its state."""

from __future__ import annotations

import time

from llmcore.calls.failures import CallFacts
from llmcore.pipeline import Call
from llmcore.types import EmbeddingRequest

__all__ = ["EmbeddingCall", "get_facts"]


class EmbeddingCall(Call, kw_only=True):
    """One request to one model, for some of the texts of a call."""

    request: EmbeddingRequest
    keys: tuple[str, ...] = ()
    """The cache key of each text; empty if the call does not use the cache.

    `key` is the key of the whole request, for single-flight and leases.
    """
    is_leased: bool = False
    """True if other processes may wait for the result of the whole request."""
    model_path: tuple[str, ...] | None = None
    """The setting that names the model; None if the caller named the model."""
    timeout_s: float | None = None
    """The caller's timeout in seconds. None means the `deadline` of [retry]."""


def get_facts(call: EmbeddingCall) -> CallFacts:
    """Return the facts that complete an error of *call*."""
    return CallFacts(
        backend=call.backend,
        model=call.request.model,
        parameters=call.request.parameters,
        model_path=call.model_path,
        timeout_s=call.timeout_s,
        method="embed",
        attempts=call.attempts,
        elapsed_s=time.monotonic() - call.started,
    )
