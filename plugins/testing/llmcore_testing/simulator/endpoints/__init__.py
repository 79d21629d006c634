"""The endpoints that the simulator answers, one group a file; a new group is added to `ALL_ROUTES`."""

from __future__ import annotations

from typing import Final

from llmcore_testing.simulator.endpoints import anthropic, azure, control, elevenlabs, local, openai
from llmcore_testing.simulator.routing import Route

__all__ = ["ALL_ROUTES"]

ALL_ROUTES: Final[tuple[Route, ...]] = (
    *elevenlabs.ROUTES,
    *anthropic.ROUTES,
    *openai.ROUTES,
    *azure.ROUTES,
    *local.ROUTES,
    *control.ROUTES,
)
