"""Requests as the vendor's client addresses them, its HTTP clients to send them, and how long they may take.

The vendor's client resolves the address (Azure's deployments too) and the headers once for each kind of request,
against a transport that goes nowhere. What it made is the mould of all later requests, so that a call pays for
its own bytes alone: a quarter of the CPU of the typed `create()`, half of its generic `post()`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import openai  # noqa: TID253 - loaded only when a provider is created

from llmcore_openai_optimized.account import Account

__all__ = ["Moulds", "Patience", "SyncClient"]

_PLACEHOLDER: Final = "set-when-sent"
_NEVER_COPIED: Final = frozenset({"content-length", "x-stainless-retry-count", "x-stainless-read-timeout"})
_MOST_MOULDS: Final = 256
_CONNECT_S: Final = 5.0
_DEFAULT_S: Final = 600.0


class Patience:
    """How long one request may take, as the transport asks it at each of its steps."""

    __slots__ = ("_ends", "_silence_s")

    def __init__(self, timeout_s: float | None, silence_s: float | None) -> None:
        """Begin to wait.

        Args:
            timeout_s: Seconds for all of it.
            silence_s: Seconds between two signs of life; None where only the end counts.
        """
        self._ends = time.monotonic() + (_DEFAULT_S if timeout_s is None else timeout_s)
        self._silence_s = silence_s

    def get(self, step: str, default: float | None = None) -> float | None:  # noqa: ARG002 - a mapping's method
        """Return the seconds for *step*: connect, read, write or pool."""
        left = max(self._ends - time.monotonic(), 0.001)  # 0 would mean: do not block
        if step == "connect":
            return min(left, _CONNECT_S)
        if step == "read" and self._silence_s is not None:
            return min(left, self._silence_s)
        return left

    def listen(self, silence_s: float | None) -> None:
        """Allow no longer silence than this from now on."""
        self._silence_s = silence_s

    def check(self) -> None:
        """Raise TimeoutError where the time is over."""
        if time.monotonic() >= self._ends:
            raise TimeoutError


class Mould:
    """One kind of request, without its body and its key."""

    __slots__ = ("_account", "_headers", "_key_header", "_url", "method")

    def __init__(self, made: httpx2.Request, account: Account) -> None:
        self.method = made.method
        self._url = made.url
        self._account = account
        self._headers: list[tuple[bytes, bytes]] = []
        self._key_header: bytes | None = None
        for name, value in made.headers.raw:
            if _PLACEHOLDER.encode() in value:
                self._key_header = name if account.bearer else b"api-key"
            elif name.lower().decode() not in _NEVER_COPIED:
                self._headers.append((name, value))

    def request(self, content: bytes, patience: Patience) -> httpx2.Request:
        """Return a request that can be sent. The only place where the key is read to be sent."""
        headers = self._headers
        if self._key_header is not None and self._account.key is not None:
            scheme = b"Bearer " if self._account.bearer else b""
            headers = [*headers, (self._key_header, scheme + self._account.key.reveal().encode())]
        return httpx2.Request(
            self.method, self._url, headers=headers, content=content, extensions={"timeout": patience}
        )


class _Addressed(Exception):
    """Carries a request out of the vendor's client in the moment in which it would be sent."""

    def __init__(self, request: httpx2.Request) -> None:
        super().__init__()
        self.request = request


class Moulds:
    """The kinds of request of one account, each made by the vendor's client at its first use."""

    def __init__(self, account: Account, headers: Mapping[str, str]) -> None:
        self._account = account
        self._client = _addressing(account, headers)
        self._made: dict[tuple[str, str], Mould] = {}

    def chat(self, model: str) -> Mould:
        """Return the mould of a chat. On Azure the model is part of the address."""
        return self._mould("/chat/completions", model if self._account.azure_endpoint else "")

    def speech(self, model: str) -> Mould:
        """Return the mould of a request for speech; see `chat`."""
        return self._mould("/audio/speech", model if self._account.azure_endpoint else "")

    def models(self) -> Mould:
        """Return the mould of the request for the list of models."""
        return self._mould("/models", "")

    def _mould(self, path: str, model: str) -> Mould:
        mould = self._made.get((path, model))
        if mould is None:
            if len(self._made) >= _MOST_MOULDS:
                self._made.clear()
            mould = self._made[path, model] = Mould(self._addressed(path, model), self._account)
        return mould

    def _addressed(self, path: str, model: str) -> httpx2.Request:
        try:
            if path == "/models":
                self._client.get(path, cast_to=httpx2.Response)
            else:
                self._client.post(path, cast_to=httpx2.Response, body={"model": model} if model else {})
        except _Addressed as done:
            return done.request
        raise RuntimeError("the vendor's client sent nothing")


class SyncClient:
    """The blocking HTTP client, made at its first use and anew after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._pid = 0

    def get(self) -> httpx2.Client:
        """Return the client of this process."""
        if self._client is None or self._pid != os.getpid():
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    # A client from before a fork is let go of unclosed: its connections are the parent's.
                    self._client = openai.DefaultHttpxClient(follow_redirects=False)
                    self._pid = os.getpid()
        return self._client

    def close(self) -> None:
        """Close its connections; a later `get` opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()


def _addressing(account: Account, headers: Mapping[str, str]) -> openai.OpenAI:
    """Return the vendor's client over a transport that goes nowhere. It never sees the key."""
    nowhere = httpx2.Client(transport=httpx2.MockTransport(_stop))
    common: dict[str, Any] = {
        "api_key": _PLACEHOLDER,
        "organization": account.organization,
        "default_headers": dict(headers),
        "max_retries": 0,
        "http_client": nowhere,
    }
    if account.azure_endpoint:
        return openai.AzureOpenAI(
            azure_endpoint=account.azure_endpoint, api_version=account.api_version, **common
        )
    return openai.OpenAI(base_url=account.base_url, project=account.project, **common)


def _stop(request: httpx2.Request) -> httpx2.Response:
    raise _Addressed(request)
