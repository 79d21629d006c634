"""Declare the engine `ray`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_engine_ray.options import RayOptions

if TYPE_CHECKING:
    from llmcore_engine_ray.provider import RayEngine

__all__ = ["LLMCORE_API", "RayOptions"]

LLMCORE_API = 1


def create(options: RayOptions) -> RayEngine:
    """Return the engine, not yet connected."""
    from llmcore_engine_ray.provider import RayEngine

    return RayEngine(options)


@hookimpl
def llmcore_engine_providers() -> Iterable[Provider]:
    """Yield the engine `ray`."""
    yield Provider(name="ray", options=RayOptions, create=create)
