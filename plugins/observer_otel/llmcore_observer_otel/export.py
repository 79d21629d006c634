"""Send spans and metrics to an OTLP receiver over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmcore.errors import PluginBroken

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Exporter", "open_exporter"]

_CLOSE_MS = 2000


class Exporter(NamedTuple):
    """The providers of spans and metrics for one receiver. A thread of the SDK sends both in batches."""

    tracers: TracerProvider
    meters: MeterProvider

    def close(self) -> None:
        """Send the remaining spans and metrics, each for at most two seconds, and stop the threads."""
        self.tracers.force_flush(_CLOSE_MS)
        self.meters.force_flush(_CLOSE_MS)
        self.tracers.shutdown()
        self.meters.shutdown(_CLOSE_MS)


def open_exporter(endpoint: str) -> Exporter:
    """Return an exporter to the receiver at *endpoint*, such as "http://localhost:4318".

    Raises:
        PluginBroken: The SDK or its OTLP exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        missing = error.name
    else:
        address = endpoint.rstrip("/")
        resource = Resource.create()
        tracers = TracerProvider(resource=resource)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{address}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{address}/v1/metrics"))
        return Exporter(tracers, MeterProvider(resource=resource, metric_readers=[reader]))
    raise PluginBroken(
        f"the observer `otel` cannot send to {endpoint}: the module {missing} is not installed",
        where="[observers.otel] endpoint",
        expected="the packages opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http",
        fix='pip install "opentelemetry-sdk>=1.30" "opentelemetry-exporter-otlp-proto-http>=1.30"',
    )
