"""Request templates, request timeouts, and the creation of the HTTP clients.

The address and the headers are made once for each kind of request, as a template. Each request is made from a
template.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import httpx2

from llmcore.support.http import LoopClients, ThreadClient
from llmcore.support.sending import get_headers
from llmcore_openai_optimized.account import Account, check_headers
from llmcore_openai_optimized.endpoints import Endpoints
from llmcore_openai_optimized.request import AsyncHttpClient, Endpoint, Header, Request, SyncHttpClient
from llmcore_openai_optimized.transport import Route, make_async_client, make_sync_client

__all__ = ["RequestTemplate", "RequestTemplates", "RequestTimeout", "hold_async_clients", "hold_client"]

_MAX_TEMPLATES: Final = 256
_CONNECT_S: Final = 5.0
_DEFAULT_S: Final = 600.0


class RequestTimeout:
    """The timeout of one request. Transports read it like a mapping, once for each step."""

    __slots__ = ("_ends", "_silence_s")

    def __init__(self, timeout_s: float | None, silence_s: float | None) -> None:
        """Start the timeout.

        Args:
            timeout_s: Seconds for the whole request; None for 600 seconds.
            silence_s: Maximum seconds between two received bytes; None for no such limit.
        """
        self._ends = time.monotonic() + (_DEFAULT_S if timeout_s is None else timeout_s)
        self._silence_s = silence_s

    def get(self, step: str, default: float | None = None) -> float | None:  # noqa: ARG002 - `Mapping` has the parameter
        """Return the remaining seconds for *step*: connect, read, write or pool.

        The step connect gets at most 5 seconds, and the step read at most the limit between two received bytes.
        """
        left = max(self._ends - time.monotonic(), 0.001)  # a timeout of 0 would make the socket non-blocking
        if step == "connect":
            return min(left, _CONNECT_S)
        if step == "read" and self._silence_s is not None:
            return min(left, self._silence_s)
        return left

    def set_idle(self, silence_s: float | None) -> None:
        """Set the maximum seconds between two received bytes from now on."""
        self._silence_s = silence_s

    def check(self) -> None:
        """Raise TimeoutError if the timeout has passed."""
        if time.monotonic() >= self._ends:
            raise TimeoutError


class RequestTemplate:
    """One kind of request, without body and key."""

    __slots__ = ("_account", "_endpoint", "_key_header")

    def __init__(self, endpoint: Endpoint, key_header: bytes | None, account: Account) -> None:
        self._endpoint = endpoint
        self._key_header = key_header
        self._account = account

    def request(self, content: bytes, timeout: RequestTimeout) -> Request:
        """Return a request to send. Only this method puts the key into a request."""
        headers: list[Header] = [(name.encode(), value.encode()) for name, value in get_headers()]
        if self._key_header is not None and self._account.key is not None:
            scheme = b"Bearer " if self._account.bearer else b""
            headers.append((self._key_header, scheme + self._account.key.reveal().encode()))
        return Request(self._endpoint, headers, content, timeout)


class RequestTemplates:
    """The request templates of one account. The first use creates each template."""

    def __init__(self, account: Account, headers: Mapping[str, str]) -> None:
        self._account = account
        self._made: dict[tuple[str, str, str], RequestTemplate] = {}
        checked = check_headers(headers, account.table)
        try:
            self._endpoints = Endpoints(account, checked)
        except httpx2.InvalidURL as error:
            # The InvalidURL is not chained, because its text contains the address, which may contain a key.
            fault = account.make_address_error(str(error).partition(":")[0].lower())
        else:
            return
        raise fault

    def get_chat(self, model: str) -> RequestTemplate:
        """Return the template of a chat. On Azure the model is part of the address."""
        return self._get_template("/chat/completions", model if self._account.azure_endpoint else "")

    def get_responses(self) -> RequestTemplate:
        """Return the template of a request of the Responses API."""
        return self._get_template("/responses", "")

    def get_speech(self, model: str) -> RequestTemplate:
        """Return the template of a request for speech; see `get_chat`."""
        return self._get_template("/audio/speech", model if self._account.azure_endpoint else "")

    def get_embeddings(self, model: str) -> RequestTemplate:
        """Return the template of a request for embeddings; see `get_chat`."""
        return self._get_template("/embeddings", model if self._account.azure_endpoint else "")

    def get_models(self) -> RequestTemplate:
        """Return the template of the request for the list of models."""
        return self.get_document("GET", "/models")

    def get_document(self, method: str, url: str) -> RequestTemplate:
        """Return the template of another request, GET or POST, to a path or to an address of the same server."""
        return self._get_template(url, "", method)

    def get_form(self, path: str, content_type: str) -> RequestTemplate:
        """Return the template of a request whose body is a form, such as the upload of a file."""
        return self._get_template(path, "", content_type=content_type)

    def _get_template(
        self, path: str, model: str, method: str = "POST", content_type: str = "application/json"
    ) -> RequestTemplate:
        key = path, model, method
        template = self._made.get(key)
        if template is None:
            if len(self._made) >= _MAX_TEMPLATES:
                self._made.clear()
            endpoint = self._endpoints.make(method, path, model, content_type)
            template = RequestTemplate(endpoint, self._endpoints.key_header, self._account)
            self._made[key] = template
        return template


def hold_client(route: Route) -> ThreadClient[SyncHttpClient]:
    """Return the `ThreadClient` for *route*.

    It creates the blocking client at its first use, and again after a fork.
    """
    return ThreadClient(lambda: make_sync_client(route), lambda client: client.close())


def hold_async_clients(route: Route) -> LoopClients[AsyncHttpClient]:
    """Return the `LoopClients` for *route*: one asynchronous client for each event loop."""
    return LoopClients(lambda: make_async_client(route), lambda client: client.aclose())
