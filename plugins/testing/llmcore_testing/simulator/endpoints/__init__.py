"""The endpoints of the simulator. Each file defines one group of routes; `ALL_ROUTES` lists all groups."""

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
