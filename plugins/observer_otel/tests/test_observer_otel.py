from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import llmcore
from llmcore import errors
from llmcore_testing import Fault, Simulator

MODEL = "gpt-4o-mini"


@pytest.fixture(scope="session")  # a process can set its provider once, and a module may run in two parts
def exporter() -> InMemorySpanExporter:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    return spans


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def get_spans(exporter: InMemorySpanExporter) -> tuple[Any, ...]:
    return exporter.get_finished_spans()


def load(server: Simulator, tmp_path: Path, **otel: object) -> llmcore.Core:
    return llmcore.load(
        {
            "llm": {
                "provider": "openai",
                "model": MODEL,
                "openai": {"api_key": "sk-test", "base_url": server.base_url},
            },
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
            "observers": {"use": ["otel"], "otel": otel},
        }
    )


def test_a_chat_is_a_span_with_model_tokens_and_cost(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path
) -> None:
    with load(server, tmp_path) as core:
        reply = core.llm.chat("Hello", user="ann", tags="nightly")
    (span,) = get_spans(spans)
    assert span.name == f"chat {MODEL}"
    assert span.kind is SpanKind.CLIENT
    assert span.end_time > span.start_time
    found = dict(span.attributes)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == MODEL
    assert found["gen_ai.response.model"] == reply.model
    assert found["gen_ai.response.id"] == reply.request_id
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.usage.input_tokens"] == reply.usage.input_tokens
    assert found["gen_ai.usage.output_tokens"] == reply.usage.output_tokens
    assert found["llmcore.cost"] == float(reply.cost or -1)
    assert found["llmcore.cached"] is False
    assert found["llmcore.user"] == "ann"
    assert found["llmcore.tags"] == ("nightly",)
    assert not {name for name in found if "messages" in name}


def test_a_cached_answer_is_a_span_of_its_own_and_costs_nothing(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path
) -> None:
    with load(server, tmp_path) as core:
        core.llm.chat("Hello")
        core.llm.chat("Hello")
    first, second = get_spans(spans)
    assert first.attributes["llmcore.cached"] is False
    assert second.attributes["llmcore.cached"] is True
    assert second.attributes["llmcore.cost"] == 0


def test_a_failure_is_an_error_with_its_type(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path
) -> None:
    server.fail(Fault.status(400))
    with load(server, tmp_path) as core, pytest.raises(errors.BadRequest):
        core.llm.chat("Hello")
    (span,) = get_spans(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "BadRequest"


def test_a_stream_has_the_time_to_its_first_chunk(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path
) -> None:
    with load(server, tmp_path) as core:
        assert "".join(delta.text for delta in core.llm.stream("Hello"))
    (span,) = get_spans(spans)
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0


@pytest.mark.parametrize("operation", ["chat", "embeddings"])
def test_the_request_carries_the_span_as_traceparent(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path, operation: str
) -> None:
    tracer = trace.get_tracer("test")
    with load(server, tmp_path) as core, tracer.start_as_current_span("outer") as outer:
        if operation == "chat":
            core.llm.chat("Hello")
        else:
            core.llm.embed(["Hello"], model="text-embedding-3-small")
    span = next(each for each in get_spans(spans) if each.name != "outer")
    context = span.get_span_context()
    assert span.parent.span_id == outer.get_span_context().span_id
    assert span.attributes["gen_ai.operation.name"] == operation
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert server.requests[-1].headers["traceparent"] == expected


def test_the_header_can_be_turned_off(spans: InMemorySpanExporter, server: Simulator, tmp_path: Path) -> None:
    with load(server, tmp_path, propagate=False) as core:
        core.llm.chat("Hello")
    assert "traceparent" not in server.requests[-1].headers
    assert len(get_spans(spans)) == 1


def test_prompts_and_answers_are_recorded_on_request(
    spans: InMemorySpanExporter, server: Simulator, tmp_path: Path
) -> None:
    with load(server, tmp_path, content=True) as core:
        reply = core.llm.chat("A lighthouse")
    (span,) = get_spans(spans)
    assert "A lighthouse" in span.attributes["gen_ai.input.messages"]
    assert reply.text[:20] in span.attributes["gen_ai.output.messages"]


def test_a_receiver_gets_spans_and_metrics(server: Simulator, tmp_path: Path) -> None:
    received: dict[str, bytes] = {}

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.path] = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{receiver.server_port}"
            with load(server, tmp_path, endpoint=endpoint, metrics=True) as core:
                core.llm.chat("Hello")
        finally:
            receiver.shutdown()
            thread.join()
    sent = ExportTraceServiceRequest.FromString(received["/v1/traces"])
    assert [
        span.name for each in sent.resource_spans for scope in each.scope_spans for span in scope.spans
    ] == [f"chat {MODEL}"]
    measured = ExportMetricsServiceRequest.FromString(received["/v1/metrics"])
    names = {
        metric.name
        for each in measured.resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }
    assert {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"} <= names


def test_nothing_is_imported_when_the_observer_is_off() -> None:
    program = (
        "import sys, llmcore\n"
        "with llmcore.load({'llm': {'provider': 'echo'}, 'cache': {'provider': 'memory'}, 'ledger': {'enabled': False}}) as core:\n"
        "    core.llm.chat('Hello')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
