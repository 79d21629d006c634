"""The ASGI application of `llmcore dashboard`: one page under a random path on loopback."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmcore.support.host_header import LOOPBACK_NAMES, get_host_name
from llmcore_dashboard.answer import SECURITY_HEADERS, PageAnswer, answer_request
from llmcore_dashboard.page import render_fault

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Application", "create_app"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def create_app(core: Core, token: str) -> Application:
    """Return the application that serves the page of *core* under `/TOKEN/`. The caller closes the Core."""
    return Application(core, token)


class Application:
    """Answers GET and HEAD requests for the page and rejects all others."""

    def __init__(self, core: Core, token: str) -> None:
        self._core = core
        self._token = token
        self._turn = asyncio.Lock()
        """Only one page is computed at a time, because each page reads the whole range from the ledger."""

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request of the ASGI server."""
        del receive
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = self._refuse(scope, headers) or await self._make_page(scope, headers)
        sent = {
            **answer.headers,
            "content-type": answer.content_type,
            "content-length": str(len(answer.body)),
        }
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _make_page(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> PageAnswer:
        query = scope["query_string"].decode("latin-1")
        async with self._turn:
            return await asyncio.to_thread(answer_request, self._core, query, headers)

    def _refuse(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> PageAnswer | None:
        """Return the error page if the request is not allowed; None if it is allowed."""
        # Without this check, a web page could reach this server under the page's own name (DNS rebinding).
        if get_host_name(headers) not in LOOPBACK_NAMES:
            return _make_fault(403, "Not allowed", "The Host of the request is not a name of this server.")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers.get('host', '')}":
            return _make_fault(403, "Not allowed", "A page of another origin may not read this one.")
        if scope["method"] not in {"GET", "HEAD"}:
            return _make_fault(405, "Not allowed", "This page can only be read.", {"allow": "GET, HEAD"})
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.partition(b"?")[0]
        if not hmac.compare_digest(path, f"/{self._token}/".encode()):
            return _make_fault(
                404,
                "Not found",
                "Use the whole address that `llmcore dashboard` printed, with its random part.",
            )
        return None


def _make_fault(status: int, title: str, message: str, more: Mapping[str, str] | None = None) -> PageAnswer:
    return PageAnswer(status, render_fault(title, message).encode(), {**SECURITY_HEADERS, **(more or {})})
