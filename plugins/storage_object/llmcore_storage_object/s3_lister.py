"""List the objects of an S3-compatible server with their unmodified names.

The SDK normalises names: it rejects a page with a name such as "a//b" or "../x", and changes "folder/" and "/file". So
this module sends the list request and parses the answer; the SDK only signs the URL. Google's XML API has the same format.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree as ET

from llmcore.errors import StorageError
from llmcore.support.errors import raise_unchained
from llmcore.support.proxies import find_proxy
from llmcore.support.threads import run_in_thread
from llmcore_storage_object import errors
from llmcore_storage_object.blocking_calls import call_interruptibly
from llmcore_storage_object.io_calls import IOCall, Operation, ask, pause

__all__ = ["ListPage", "Lister"]

_SIGNED_FOR: Final = timedelta(minutes=15)
_FIRST_PAUSE_S: Final = 0.1
_OK: Final = 200
_NOT_IN_XML: Final = re.compile("[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class ListPage(NamedTuple):
    """One page of a list."""

    metas: list[dict[str, Any]]
    """Metadata of the objects in the SDK's format, with an unmodified "path"."""
    next: str
    """The token of the next page; empty after the last page."""


class Lister:
    """Lists the objects of one bucket.

    Args:
        address: Returns the URL of the bucket without a trailing "/".
        signer: Returns an SDK store that signs a URL; None for unsigned requests.
        timeout_s: The timeout for connecting and for each pause between received bytes.
        retries: The number of retries after a connection error or a status 5xx.
    """

    def __init__(
        self,
        address: Callable[[], str],
        signer: Callable[[str], Any] | None,
        *,
        timeout_s: float,
        retries: int,
    ) -> None:
        self._find_address = address
        self._address = ""
        self._signer = signer
        self._timeout_s = timeout_s
        self._retries = retries

    def fetch_page(self, prefix: str, start: str = "", token: str = "") -> Operation[ListPage]:
        """Return the page of *token*, or the first page of names that begin with *prefix* and sort after *start*."""
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        if token:
            query["continuation-token"] = token
        elif start:
            # Stop before a character that XML cannot contain, because some servers repeat it unescaped in their
            # answer.
            query["start-after"] = _NOT_IN_XML.split(start)[0]
        self._address = self._address or self._find_address()
        words = (f"{name}={quote(value, safe='', errors='replace')}" for name, value in query.items())
        address = f"{self._address}?{'&'.join(words)}"
        for number in range(self._retries + 1):
            if number:
                yield pause(_FIRST_PAUSE_S * 2 ** (number - 1))
            try:
                return _parse((yield self._fetch((yield from self._sign(address)))))
            except errors.ListError as error:
                if number == self._retries or not errors.is_transient(error):
                    raise
        raise AssertionError

    def _sign(self, address: str) -> Operation[str]:
        if self._signer is None:
            return address
        # The SDK appends an object name, here an empty one. "#" turns the appended name into a fragment, which is not
        # sent.
        store = self._signer(f"{address}#")
        signed: str = yield ask("sign", store, "GET", "", _SIGNED_FOR)
        return signed.partition("#")[0]

    def _fetch(self, address: str) -> IOCall:
        def fetch() -> bytes:
            return _fetch(address, self._timeout_s)

        return IOCall(lambda: call_interruptibly(fetch), lambda: run_in_thread(fetch))


def _fetch(address: str, timeout_s: float) -> bytes:
    """Return the body of the answer to a GET request for *address*.

    Raises:
        ListError: The request failed. The text has the format of the SDK's errors.
    """
    proxy = find_proxy(address)
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler({address.partition(":")[0]: proxy.url} if proxy else {})
    ]
    if address.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    try:
        with urllib.request.build_opener(*handlers).open(address, timeout=timeout_s) as answer:
            body: bytes = answer.read()
            if answer.status == _OK:
                return body
            fault = _format_status(answer.status, answer.reason, body)
    except HTTPError as error:
        with error:
            fault = _format_status(error.code, error.reason, _read_rest(error))
    except URLError as error:
        fault = f"{error.reason} (kind: Connect)"
    except (OSError, http.client.HTTPException) as error:
        fault = str(error) or type(error).__name__
    raise errors.ListError(fault)


def _read_rest(error: HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, http.client.HTTPException):
        return b""


def _format_status(code: int, reason: object, body: bytes) -> str:
    return f"Server returned non-2xx status code: {code} {reason}: {body.decode(errors='replace')}"


def _parse(body: bytes) -> ListPage:
    try:
        root = ET.fromstring(body)  # noqa: S314 - Python's expat limits entity expansion
        encoded = _find_text(root, "EncodingType") == "url"
        metas = [_parse_object(item, encoded=encoded) for item in root.iterfind("{*}Contents")]
        truncated = _find_text(root, "IsTruncated") == "true"
    except (ET.ParseError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise_unchained(
            StorageError(
                f"the server's list of objects is invalid: {fault}",
                expected="a server that supports S3's ListObjectsV2",
                fix="llmcore config show",
            )
        )
    return ListPage(metas, _find_text(root, "NextContinuationToken") if truncated else "")


def _parse_object(item: ET.Element, *, encoded: bool) -> dict[str, Any]:
    name = _find_text(item, "Key")
    return {
        "path": unquote_plus(name, errors="surrogateescape") if encoded else name,
        "size": int(_find_text(item, "Size") or 0),
        "last_modified": datetime.fromisoformat(_find_text(item, "LastModified")),
        "e_tag": _find_text(item, "ETag") or None,
        "version": _find_text(item, "Generation") or None,
    }


def _find_text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""
