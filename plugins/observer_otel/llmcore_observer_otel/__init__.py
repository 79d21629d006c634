"""Pass the calls of a Core to OpenTelemetry, as spans and metrics."""
