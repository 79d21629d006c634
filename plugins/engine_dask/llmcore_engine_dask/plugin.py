"""Declare the engine `dask`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_engine_dask.options import DaskOptions

if TYPE_CHECKING:
    from llmcore_engine_dask.provider import DaskEngine

__all__ = ["LLMCORE_API", "DaskOptions"]

LLMCORE_API = 1


def create(options: DaskOptions) -> DaskEngine:
    """Return the engine, not yet connected."""
    from llmcore_engine_dask.provider import DaskEngine

    return DaskEngine(options)


@hookimpl
def llmcore_engine_providers() -> Iterable[Provider]:
    """Yield the engine `dask`."""
    yield Provider(name="dask", options=DaskOptions, create=create)
