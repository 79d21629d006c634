"""Find a provider for a first configuration: a key in the environment, or a model server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.config.mask import quote

if TYPE_CHECKING:
    from llmcore.plugins import Catalogue

__all__ = ["KEYS", "LOCAL_SERVERS", "FirstConfig", "find_key", "find_server", "find_servers", "render_start"]

KEYS: Final = (
    ("OPENAI_API_KEY", "openai", "gpt-5.6-luna"),
    ("ANTHROPIC_API_KEY", "anthropic", "claude-haiku-5-5"),
)
"""Variable, provider and model of each vendor, in the order of preference."""

LOCAL_SERVERS: Final = (
    ("ollama", "http://127.0.0.1:11434/v1"),
    ("lmstudio", "http://127.0.0.1:1234/v1"),
    ("llama_cpp", "http://127.0.0.1:8080/v1"),
    ("vllm", "http://127.0.0.1:8000/v1"),
)
"""Provider and usual address of each model server."""

_TIMEOUT_S: Final = 1.0
"""Seconds to wait for a local server. Most of the addresses have no server, and a user waits for the result."""
_LARGEST: Final = 4_000_000
"""Maximum number of bytes that are read of a server's list of models."""
_HEADERS: Final = {"Authorization": "Bearer unused"}
"""The headers of a probe.

Some servers require a key, but accept any text as the key. A real key is not sent, because the address may belong to
any program.
"""


class FirstConfig(NamedTuple):
    """The provider, model and option that the first configuration uses."""

    provider: str
    model: str
    option: str
    """The option of the provider: api_key or base_url."""
    value: str
    found: str
    """A description of the key or server that was found, for the user."""
    needs_key: bool = False
    """True if the provider requires a key although the server does not."""


def find_key(env: Mapping[str, str], catalogue: Catalogue) -> tuple[FirstConfig | None, list[str]]:
    """Return the `FirstConfig` for the first key whose provider is installed (None without such a key), and notes.

    The notes are for the user. They name the earlier keys, whose providers are not installed.
    """
    from llmcore.install_lines import make_install_line
    from llmcore.missing_plugin import KNOWN

    names = catalogue.list_names("llm")
    notes: list[str] = []
    for variable, provider, model in KEYS:
        if not env.get(variable):
            continue
        if provider in names:
            return FirstConfig(provider, model, "api_key", f"env:{variable}", f"the key in {variable}"), notes
        line = make_install_line(KNOWN["llm", provider])
        notes.append(f"{variable} is set; to use it: {line} && llmcore config init")
    return None, notes


def find_servers(
    servers: Sequence[tuple[str, str]], timeout_s: float = _TIMEOUT_S
) -> list[tuple[str, str, list[str]]]:
    """Return the servers that answer, with their models: provider, address, models.

    All servers are probed concurrently.

    Args:
        servers: The provider and the address of each server.
        timeout_s: The timeout of each connection, in seconds.
    """
    answers: dict[str, list[str]] = {}

    def ask(address: str) -> None:
        if models := _list_models(address, timeout_s):
            answers[address] = models

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for _, address in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s * 1.5)
    found = dict(answers)
    return [(name, address, found[address]) for name, address in servers if address in found]


def find_server(
    address: str, models: Sequence[str], provider: str, catalogue: Catalogue
) -> FirstConfig | None:
    """Return a `FirstConfig` for the server at *address*; None if no provider for this server is installed.

    Args:
        address: The address of the server's API.
        models: The models of the server.
        provider: The provider for this kind of server. If it is not installed, `vllm` or `openai` takes its place.
        catalogue: The installed plugins.
    """
    names = catalogue.list_names("llm")
    used = next((name for name in (provider, "vllm", "openai") if name in names), None)
    if used is None:
        return None
    model = next((model for model in models if "embed" not in model.lower()), models[0])
    if ":" in model:  # llmcore would read the part before the colon as a provider
        model = f"{used}:{model}"
    return FirstConfig(used, model, "base_url", address, f"a server at {address}", needs_key=used == "openai")


def render_start(start: FirstConfig) -> str:
    """Return the five lines of the first configuration."""
    lines = (
        "[llm]",
        f"provider = {quote(start.provider)}",
        f"model = {quote(start.model)}",
        f"[llm.{start.provider}]",
        f"{start.option} = {quote(start.value)}",
    )
    return "\n".join(lines) + "\n"


def _list_models(address: str, timeout_s: float) -> list[str]:
    """Return the models of an OpenAI-compatible server; an empty list if no such server answers."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.netloc, timeout=timeout_s)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/models", headers=_HEADERS)
            answer = connection.getresponse()
            document: Any = json.loads(answer.read(_LARGEST)) if answer.status == 200 else None  # noqa: PLR2004 - the status OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return []
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return []
    return [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
