"""The simulator: a local HTTP server that speaks the providers' protocols and injects faults."""

from __future__ import annotations

from llmcore_testing.simulator.charges import Charge
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.script import Scripted
from llmcore_testing.simulator.simulator import Simulator
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["Charge", "Fault", "RecordedRequest", "Scripted", "Simulator"]
