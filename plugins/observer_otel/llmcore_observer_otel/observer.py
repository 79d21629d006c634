"""Record each call as a span, and as metrics if the options say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from llmcore.hookspecs import Observer
from llmcore.types import CallEvent, CallStart, ChatRequest, Reply
from llmcore_observer_otel import names
from llmcore_observer_otel.export import open_exporter
from llmcore_observer_otel.options import OtelOptions

__all__ = ["OtelObserver"]

_SCOPE: Final = "llmcore"
_NANO: Final = 1_000_000_000


class OtelObserver(Observer):
    """The observer. The span of a call is a child of the span that is active when the call starts.

    Args:
        options: The table `[observers.otel]`.
    """

    def __init__(self, options: OtelOptions) -> None:
        self.receives_content = options.content  # type: ignore[misc]  # set for each observer, by its options
        self._propagates = options.propagate
        self._exporter = None if options.endpoint is None else open_exporter(options.endpoint)
        tracers = trace if self._exporter is None else self._exporter.tracers
        self._tracer = tracers.get_tracer(_SCOPE)
        self._duration = self._tokens = None
        if options.metrics:
            meter = (metrics if self._exporter is None else self._exporter.meters).get_meter(_SCOPE)
            self._duration = meter.create_histogram(names.DURATION, "s", "Duration of a call")
            self._tokens = meter.create_histogram(names.TOKEN_USAGE, "{token}", "Tokens of a call")

    def on_start(self, call: CallStart) -> Span:
        """Start the span of *call*."""
        return self._start_span(call.kind, call.provider, call.model, call.started_at)

    def get_headers(self, start: Span) -> Mapping[str, str]:
        """Return `traceparent` and `tracestate` for the requests of the call."""
        context = start.get_span_context()
        if not (self._propagates and context.is_valid):
            return {}
        # Format the W3C headers here, because the propagator of the API takes four times as long.
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        if not context.trace_state:
            return {"traceparent": parent}
        return {"traceparent": parent, "tracestate": context.trace_state.to_header()}

    def on_call(self, event: CallEvent) -> None:
        """Complete and end the span of the call. Record the metrics."""
        span: Span = event.start
        if span is None:  # on_start failed
            span = self._start_span(event.kind, event.provider, event.model, event.started_at)
        if span.is_recording():
            span.set_attributes(_get_attributes(event))
            if event.request is not None:
                span.set_attributes(dict(_get_content(event.request, event.reply)))
            if event.error is not None:
                span.set_status(Status(StatusCode.ERROR))
        span.end()
        if self._duration is not None:
            self._record_metrics(event)

    def close(self) -> None:
        """Send the remaining spans and metrics, if this observer has its own exporter."""
        if self._exporter is not None:
            self._exporter.close()

    def _start_span(self, kind: str, provider: str, model: str, started_at: float) -> Span:
        operation = names.OPERATIONS.get(kind, kind)
        attributes = {
            names.OPERATION: operation,
            names.PROVIDER: provider,
            names.REQUEST_MODEL: model,
        }
        start = int(started_at * _NANO) or None
        name = f"{operation} {model}".strip()
        return self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=start)

    def _record_metrics(self, event: CallEvent) -> None:
        attributes: dict[str, str | bool] = {
            names.OPERATION: names.OPERATIONS.get(event.kind, event.kind),
            names.PROVIDER: event.provider,
            names.RESPONSE_MODEL: event.model,
            names.CACHED: event.cached,
        }
        if event.error is not None:
            attributes[names.ERROR] = event.error
        assert self._duration is not None and self._tokens is not None  # noqa: S101, PT018 - `on_call` calls this method only if both exist
        self._duration.record(event.latency_s, attributes)
        if event.usage.total_tokens and not event.cached:
            self._tokens.record(event.usage.input_tokens, {**attributes, names.TOKEN_TYPE: "input"})
            self._tokens.record(event.usage.output_tokens, {**attributes, names.TOKEN_TYPE: "output"})


def _get_attributes(event: CallEvent) -> dict[str, Any]:
    """Return the attributes that are known at the end of a call. A cached answer has the usage of its first request."""
    usage = event.usage
    found: dict[str, Any] = {
        names.RESPONSE_MODEL: event.model,
        names.CACHED: event.cached,
        names.ATTEMPTS: event.attempts,
    }
    if usage.input_tokens or usage.output_tokens:
        found[names.INPUT_TOKENS] = usage.input_tokens
        found[names.OUTPUT_TOKENS] = usage.output_tokens
    rare = (
        (names.CACHE_READ_TOKENS, usage.cached_tokens),
        (names.CACHE_WRITE_TOKENS, usage.cache_write_tokens),
        (names.REASONING_TOKENS, usage.reasoning_tokens),
        (names.CHARACTERS, event.characters),
        (names.COST_SOURCE, event.cost_source),
        (names.RESPONSE_ID, event.request_id),
        (names.CALL, event.call),
        (names.TAGS, event.tags),
        (names.ERROR, event.error),
    )
    found.update([(name, value) for name, value in rare if value])
    if event.cost is not None:
        found[names.COST] = float(event.cost)
    if event.finish_reason is not None:
        found[names.FINISH_REASONS] = (event.finish_reason,)
    if event.first_token_s is not None:
        found[names.FIRST_CHUNK_S] = event.first_token_s
    if event.user is not None:
        found[names.USER] = event.user
    return found


def _get_content(request: ChatRequest, reply: Reply | None) -> Iterator[tuple[str, str]]:
    """Yield the messages of a chat and the answer, as JSON."""
    yield names.INPUT_MESSAGES, msgspec.json.encode(request.messages).decode()
    if reply is not None:
        answer = [{"role": "assistant", "content": reply.text}]
        yield names.OUTPUT_MESSAGES, msgspec.json.encode(answer).decode()
