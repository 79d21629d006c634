"""The requests that ask each kind of server for a model's context length, and their answers. This module does no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from llmcore_openai_compatible.servers import Server

__all__ = ["Query", "find_default_model", "make_query", "read_context"]

_LENGTHS: Final = (
    "loaded_context_length",  # LM Studio
    "max_model_len",  # vLLM
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_context_length",  # Mistral, LM Studio
)
"""The fields that contain the context length of a model in a list of models."""
_OTHER_USES: Final = re.compile(r"embed|minilm|\bbge\b|\bgte\b|rerank|whisper|\btts\b", re.IGNORECASE)
_SET_BY_USER: Final = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


class Query(NamedTuple):
    """A request whose answer contains the context length of a model."""

    method: str
    url: str
    body: bytes = b""


def make_query(server: Server, base_url: str, model: str) -> Query | None:
    """Return the request to the server at *base_url*; None if the server does not report the context length."""
    root = base_url.removesuffix("/v1")
    if server.context == "show":
        return Query("POST", f"{root}/api/show", msgspec.json.encode({"model": model}))
    if server.context == "props":
        return Query("GET", f"{root}/props")
    if server.context == "v0":
        return Query("GET", f"{root}/api/v0/models")
    return Query("GET", "/models") if server.context == "list" else None


def read_context(server: Server, document: Any, model: str) -> int | None:
    """Return the context length in tokens of *model*; None if *document* does not contain it."""
    found: Any = None
    if server.context in {"v0", "list"}:
        entry = next((each for each in _list_entries(document) if _get_name(each) == model), {})
        values = (each for each in (entry, entry.get("top_provider")) if isinstance(each, Mapping))
        found = next((each[name] for each in values for name in _LENGTHS if each.get(name)), None)
    elif isinstance(document, Mapping) and server.context == "props":
        settings = document.get("default_generation_settings")
        found = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    elif isinstance(document, Mapping):
        chosen = _SET_BY_USER.search(str(document.get("parameters") or ""))
        info = document.get("model_info")
        facts = info.items() if isinstance(info, Mapping) else ()
        trained = next((value for name, value in facts if str(name).endswith(".context_length")), None)
        found = int(chosen[1]) if chosen else trained
    return found if type(found) is int and found > 0 else None


def _list_entries(document: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the models of a list, in the server's order: `data` (OpenAI), `models` (Ollama), or a bare list (Together)."""
    listed = document.get("data", document.get("models")) if isinstance(document, Mapping) else document
    yield from (each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, Mapping))


def find_default_model(document: Any) -> str | None:
    """Return the first model for chats in the list *document*; None if there is no such model.

    Models whose names show another purpose, such as embeddings, are skipped.
    """
    names: Iterable[str] = filter(None, map(_get_name, _list_entries(document)))
    return next((name for name in names if not _OTHER_USES.search(name)), None)


def _get_name(entry: Mapping[str, Any]) -> str:
    found = entry.get("id") or entry.get("name")
    return found if isinstance(found, str) else ""
