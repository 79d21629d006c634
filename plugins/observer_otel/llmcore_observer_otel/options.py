"""The options of the observer."""

from __future__ import annotations

from llmcore.hookspecs import Options

__all__ = ["OtelOptions"]


class OtelOptions(Options):
    """The table `[observers.otel]`."""

    endpoint: str | None = None
    """The address of an OTLP receiver, for spans and metrics over HTTP: "http://localhost:4318".

    None means the tracer and the meter that the application has configured.
    """
    metrics: bool = False
    """True if the duration and the tokens of calls are recorded as metrics."""
    content: bool = False
    """True if the spans of chats contain prompts and answers."""
    propagate: bool = True
    """True if requests to the provider have the header `traceparent`."""
