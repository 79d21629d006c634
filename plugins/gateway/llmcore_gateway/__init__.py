"""An HTTP server over a Core, for clients in any language: OpenAI's and Anthropic's protocols, keys, and budgets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llmcore_gateway.app import create_app
    from llmcore_gateway.clients import async_http_client, http_client

__all__ = ["async_http_client", "create_app", "http_client"]

_MODULES: Final = {"async_http_client": "clients", "create_app": "app", "http_client": "clients"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
