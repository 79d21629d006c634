"""A simulated upstream: an OpenAI-compatible HTTP server that answers at once, costs nothing, and fails on request."""

from __future__ import annotations

from llmcore.testing.simulator.faults import Fault
from llmcore.testing.simulator.script import Scripted
from llmcore.testing.simulator.simulator import Simulator
from llmcore.testing.simulator.wire import RecordedRequest

__all__ = ["Fault", "RecordedRequest", "Scripted", "Simulator"]
