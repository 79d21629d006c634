"""A page with the usage and cost of language models from a Core's ledger, served or as one file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llmcore_dashboard.answer import PageAnswer, answer_request
    from llmcore_dashboard.app import create_app
    from llmcore_dashboard.export import render_file

__all__ = ["PageAnswer", "answer_request", "create_app", "render_file"]

_MODULES: Final = {
    "PageAnswer": "answer",
    "answer_request": "answer",
    "create_app": "app",
    "render_file": "export",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
