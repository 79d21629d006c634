"""Correct a `base_url` that is nearly right: add a missing `/v1`, remove an endpoint, or replace a wrong path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

__all__ = ["correct_url", "repair_url", "strip_endpoint"]

_ENDPOINT: Final = re.compile(
    r"(?:/(?:chat/completions|completions|chat|responses|messages|embeddings|models|audio/speech|audio))+$"
)
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*(?=/|$)")
_TWICE: Final = re.compile(r"(/v\d+[a-z0-9]*)\1+(?=/|$)")

_PATHS: Final[Mapping[str, str]] = {
    "api.deepinfra.com": "/v1/openai",
    "api.fireworks.ai": "/inference/v1",
    "api.groq.com": "/openai/v1",
    "api.perplexity.ai": "",
    "dashscope.aliyuncs.com": "/compatible-mode/v1",
    "dashscope-intl.aliyuncs.com": "/compatible-mode/v1",
    "generativelanguage.googleapis.com": "/v1beta/openai",
    "openrouter.ai": "/api/v1",
}
"""Host -> path of OpenAI's protocol on this host, for vendors that do not use `/v1`."""

_PLACE: Final = r"(?!(?:sk|pk|key|eyJ)[\w-])(?:localhost|[0-9.]{7,15}|(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24})(?::[1-9][0-9]{0,4})?"
"""A host name with an optional port.

Text that looks like an API key does not match, since a key must not be shown.
"""
_NEARBY: Final = r"localhost\b|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\."
"""Matches hosts of this machine and of private networks. Servers on such hosts rarely use TLS."""

_OLLAMA: Final = "/api"
"""The path of Ollama's own protocol."""


def correct_url(url: str, *, azure: bool = False) -> str | None:
    """Return the address that was probably meant; None if *url* needs no correction.

    Args:
        url: A `base_url`, or an `azure_endpoint` without a path.
        azure: True if *url* is an `azure_endpoint`.
    """
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if azure:
        path = ""
    elif host in _PATHS:
        path = _PATHS[host]
    elif host.endswith(".openai.azure.com"):
        path = "/openai/v1"
    else:
        path = _correct_path(path)
    if path == parts.path.rstrip("/"):
        return None
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def repair_url(text: str) -> str | None:
    """Return the address that was probably meant by *text*, an invalid URL; None if no address is recognized.

    A missing or misspelt scheme is replaced. A user name and password are removed, because the result is shown.
    """
    scheme, found, rest = text.strip().partition("://")
    if not found:
        scheme, rest = "", re.sub(r"^(https?):?/*", "", text.strip())
    rest = rest.lstrip("/").partition("?")[0]
    place, slash, path = rest.partition("/")
    place = place.rpartition("@")[2]
    if not re.fullmatch(_PLACE, place):
        return None
    if scheme not in {"http", "https"}:
        plain = re.match(_NEARBY, place) is not None or ":" in place
        scheme = "http" if plain else "https"
    return f"{scheme}://{place}{slash}{path}"


def _correct_path(path: str) -> str:
    stripped = _TWICE.sub(r"\1", _ENDPOINT.sub("", path))
    if stripped != path:
        return stripped
    if path == _OLLAMA:
        return "/v1"
    return path if _VERSION.search(path) else f"{path}/v1"


def strip_endpoint(url: str) -> str:
    """Return *url* without the endpoint at its end and without its query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, _ENDPOINT.sub("", parts.path.rstrip("/")), "", ""))
