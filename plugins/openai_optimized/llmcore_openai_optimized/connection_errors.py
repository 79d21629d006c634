"""Map exceptions of the HTTP client to errors of llmcore, in the same way for direct connections and for httpx2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import httpx2

from llmcore.errors import IncompleteReply, MalformedReply, ProviderError, Timeout, Unavailable

__all__ = ["describe", "was_sent"]

_NO_CONNECTION: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError,
                         httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)  # fmt: skip
"""Exceptions that are raised before the first byte of the request is sent. Such a request cannot have been billed."""

_HEADERS_TOO_LARGE: Final = re.compile(
    r"receive buffer too long|more than \d+ bytes|value is too long|line too long|too many headers",
    re.IGNORECASE,
)
_NO_ANSWER: Final = re.compile(r"disconnected|connection (?:was )?(?:closed|reset|lost)", re.IGNORECASE)
_BAD_CHUNK: Final = re.compile(r"\bchunk", re.IGNORECASE)
_NOT_HTTP: Final = re.compile(r"status line|request line", re.IGNORECASE)
_PLAIN_PORT: Final = re.compile(
    r"WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST|UNEXPECTED_MESSAGE|packet length"
)
_UNTRUSTED: Final = re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE)
_NO_SUCH_HOST: Final = re.compile(
    r"Name or service not known|nodename nor servname|No address associated|getaddrinfo failed"
    r"|name resolution|Name does not resolve|Domain name not found|DNS", re.IGNORECASE
)  # fmt: skip


def describe(  # noqa: PLR0911 - one return for each kind of failure
    raised: BaseException, address: str, scrub: Callable[[str], str], *, begun: bool, proxy: str
) -> ProviderError:
    """Return the error for the exception *raised*.

    Args:
        raised: The exception. The error does not refer to the exception.
        address: The server, without secrets.
        scrub: Removes keys from a text.
        begun: True if the response headers have arrived.
        proxy: The proxy, without secrets; empty if there is none.
    """
    if isinstance(raised, TimeoutError):
        return Timeout(f"{address} did not complete its answer in time, or stopped sending")
    what = scrub(f"{type(raised).__name__}: {raised}".removesuffix(": "))
    if isinstance(raised, httpx2.TimeoutException):
        did = "stopped sending in the middle of its answer" if begun else "did not answer in time"
        return Timeout(f"{address} {did} ({type(raised).__name__})")
    if isinstance(raised, httpx2.DecodingError):
        return MalformedReply(f"the answer cannot be decompressed ({what})")
    begun = begun or bool(_BAD_CHUNK.search(what))  # a chunk proves that the headers have arrived
    if isinstance(raised, httpx2.RemoteProtocolError) and not begun and not _NO_ANSWER.search(what):
        return _make_malformed(what, address)
    # If TLS ends early, anyio raises EndOfStream, which httpcore does not translate.
    if not isinstance(raised, httpx2.RequestError | OSError) and type(raised).__name__ != "EndOfStream":
        return ProviderError(f"the request failed ({what})")
    if begun:
        return IncompleteReply(f"the connection broke inside the answer ({what})")
    return _make_unreachable_error(what, address, list(_chain(raised)), proxy)


def was_sent(raised: BaseException) -> bool:
    """Return False if certainly no byte of the request has reached the server."""
    return not isinstance(raised, _NO_CONNECTION)


def _make_malformed(what: str, address: str) -> MalformedReply:
    if _HEADERS_TOO_LARGE.search(what):
        return MalformedReply(
            f"{address} answered with headers that are too large ({what})",
            expected="at most 100 KB of headers",
        )
    secure = address.startswith("http://") and _NOT_HTTP.search(what)
    return MalformedReply(
        f"{address} did not answer with HTTP ({what})",
        expected="an HTTP server",
        notes=("for a server with TLS, base_url must start with https://",) if secure else (),
    )


def _make_unreachable_error(what: str, address: str, chain: list[BaseException], proxy: str) -> Unavailable:
    words = " ".join(f"{type(each).__name__} {each}" for each in chain)
    if proxy:
        note = f"the request goes through the proxy {proxy}; NO_PROXY excludes a host from it"
    elif _UNTRUSTED.search(words):
        note = "to trust the certificate of a proxy or a private server, set SSL_CERT_FILE to a file that contains it"
    elif _PLAIN_PORT.search(words):
        note = "the port does not use TLS: should base_url start with http://?"
    elif _NO_SUCH_HOST.search(words):
        note = "unknown host: check base_url and the network"
    else:
        note = "check base_url and the network"
    through = f" through the proxy {proxy}" if proxy else ""
    return Unavailable(f"{address} cannot be reached{through} ({what})", notes=(note,))


def _chain(raised: BaseException) -> Iterator[BaseException]:
    """Yield *raised* and its causes."""
    current: BaseException | None = raised
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
