"""Read the pages of a vendor's report, with errors that say what to do about the admin key."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol

from llmcore.errors import AuthenticationFailed, ConfigError, LLMCoreError, MalformedReply, ProviderError
from llmcore.support.addresses import find_address_fault
from llmcore.support.errors import raise_unchained
from llmcore.support.http.failures import translate_http_error, was_sent
from llmcore.support.http.statuses import classify_status
from llmcore.support.http.texts import scrub
from llmcore.support.retry_after import parse_retry_after
from llmcore.types import Secret

__all__ = ["PageReader", "ReportServer", "find_report_server"]

_ATTEMPTS: Final = 4
_LONGEST_PAUSE_S: Final = 60.0
_MOST_PAGES: Final = 1000
_OK: Final = 200
_FORBIDDEN: Final = 403


class _Client(Protocol):
    """The parts of a client of httpx or httpx2 that are used here."""

    def get(self, url: str, *, params: Any) -> Any: ...


class ReportServer:
    """Makes the errors for requests to the server of a vendor's reports.

    Args:
        provider: The provider's name.
        address: The address of the server, without password and query.
        key: The admin key. It is removed from the texts of errors.
        key_source: The environment variable or the option that contains the admin key.
        example_key: The start of an admin key, such as "sk-admin-".
        proxy: The proxy's address without its password, for errors; empty for none.
    """

    def __init__(
        self, *, provider: str, address: str, key: str, key_source: str, example_key: str, proxy: str = ""
    ) -> None:
        self.provider = provider
        self.address = address
        self.key = key
        self.key_source = key_source
        self.example_key = example_key
        self.proxy = proxy

    def make_status_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error for an answer with a status other than 200."""
        kind = classify_status(status)
        said = scrub(_read_message(body), self.key)
        what = f"{self.address} answered with status {status}" + (f": {said}" if said else "")
        details: dict[str, Any] = {
            "provider": self.provider,
            "status": status,
            "retry_after": parse_retry_after(headers),
            "request_id": headers.get("request-id") or headers.get("x-request-id"),
        }
        if kind is not AuthenticationFailed:
            return kind(what, **details)
        notes = ["an API key for requests cannot read the bill; an admin key of the organisation can"]
        if status == _FORBIDDEN:
            notes.append(
                "the key may belong to another organisation, or lack the permission to read usage and costs"
            )
        is_variable = self.key_source.isidentifier()
        return AuthenticationFailed(
            f"the admin key from {self.key_source} was refused: {what}",
            expected=f"an admin key ({self.example_key}...), which an owner of the organisation creates",
            notes=notes,
            fix=f"export {self.key_source}={self.example_key}..." if is_variable else None,
            **details,
        )

    def translate_error(self, raised: Exception) -> LLMCoreError:
        """Return the error for an exception of the HTTP client."""
        if isinstance(raised, LLMCoreError):
            return raised
        text = scrub(f"{type(raised).__name__}: {raised}".removesuffix(": "), self.key)
        error = translate_http_error(
            raised, provider=self.provider, address=self.address, text=text, begun=False, proxy=self.proxy
        )
        error.sent = was_sent(raised)
        return error


def find_report_server(
    admin_key: Secret | None,
    url: str,
    *,
    provider: str,
    table: str,
    key_variable: str,
    example_key: str,
    hint: str,
    default_url: str,
) -> ReportServer:
    """Return the server of a vendor's reports. Set its `proxy` if there is one.

    Args:
        admin_key: The option `admin_key` of *table*; None or empty for the environment variable *key_variable*.
        url: The address of the server.
        provider: The provider's name.
        table: The table of the configuration.
        key_variable: The environment variable that the vendor's SDK reads too.
        example_key: The start of an admin key, such as "sk-admin-".
        hint: Where an admin key is created.
        default_url: The vendor's own address, for the fix of an invalid one.

    Raises:
        ConfigError: There is no admin key, or *url* is not the address of a server.
    """
    key, source = "" if admin_key is None else admin_key.reveal().strip(), f"[{table}] admin_key"
    if not key:
        key, source = os.environ.get(key_variable, "").strip(), key_variable
    if not key:
        raise ConfigError(
            f"no admin key for the bill of `{provider}`: {key_variable} is not set",
            code="LC201",
            where=f"[{table}] admin_key",
            expected=f"an admin key of the organisation in the environment variable {key_variable}",
            notes=(hint,),
            fix=f"export {key_variable}={example_key}...",
        )
    if fault := find_address_fault(url):
        raise ConfigError(
            f"base_url is not a valid server address: {fault}",
            code="LC203",
            where=f"[{table}] base_url",
            expected="http:// or https:// and a host, without user name or password",
            fix=f"llmcore config set {table}.base_url {default_url}",
        )
    return ReportServer(provider=provider, address=url, key=key, key_source=source, example_key=example_key)


class PageReader:
    """Reads all pages of reports. A temporary failure of a page is retried.

    Args:
        client: A client with the address and the headers of the requests.
        server: Describes errors.
        pause: Waits for a number of seconds before a retry.
    """

    def __init__(
        self, client: _Client, server: ReportServer, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._server = server
        self._pause = pause

    def read(self, path: str, parameters: Sequence[tuple[str, str]]) -> Iterator[bytes]:
        """Yield every page, as the server sent it.

        The fields `has_more` and `next_page` of a page lead to the next page.

        Raises:
            ProviderError: The server refused or failed.
        """
        page: str | None = None
        for _ in range(_MOST_PAGES):
            body = self._get(path, [*parameters, *([("page", page)] if page is not None else [])])
            document = self._decode(body, path)
            yield body
            following = document.get("next_page")
            if not document.get("has_more"):
                return
            if not isinstance(following, str):
                self._reject(f"{path} has more pages, but names no next page")
            if following == page:
                self._reject(f"{path} names the page just read as the next one")
            page = following
        self._reject(f"{path} has more than {_MOST_PAGES} pages")

    def _get(self, path: str, parameters: Sequence[tuple[str, str]]) -> bytes:
        for attempt in range(1, _ATTEMPTS + 1):
            error = self._try(path, parameters)
            if isinstance(error, bytes):
                return error
            is_temporary = isinstance(error, ProviderError) and error.retryable
            if not is_temporary or attempt == _ATTEMPTS:
                raise error
            hint = getattr(error, "retry_after", None)
            self._pause(min(2.0 ** (attempt - 1) if hint is None else hint, _LONGEST_PAUSE_S))
        raise AssertionError("the last attempt returns or raises")

    def _try(self, path: str, parameters: Sequence[tuple[str, str]]) -> bytes | LLMCoreError:
        """Return the page, or the error. Exceptions of the client are not chained, because they hold the admin key."""
        try:
            response = self._client.get(path, params=parameters)
        except Exception as raised:  # noqa: BLE001 - foreign exceptions become errors of llmcore
            return self._server.translate_error(raised)
        if response.status_code == _OK:
            return bytes(response.content)
        return self._server.make_status_error(response.status_code, response.headers, response.content)

    def _decode(self, body: bytes, path: str) -> Mapping[str, Any]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, Mapping) or not isinstance(document.get("data"), list):
            self._reject(f"the answer to {path} is not a page of a report")
        return document

    def _reject(self, what: str) -> NoReturn:
        raise_unchained(
            MalformedReply(
                f"{self._server.address}: {what}",
                provider=self._server.provider,
                expected='JSON with "data", "has_more" and "next_page"',
                notes=("check base_url: it may be the address of another server",),
            )
        )


def _read_message(body: bytes) -> str:
    try:
        error = json.loads(body.decode(errors="replace"))["error"]
        message = error["message"] if isinstance(error, Mapping) else error
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return message if isinstance(message, str) else ""
