"""Translate exceptions of HTTP clients to llmcore's errors, without the request.

The exceptions are recognised by the names of their classes, which httpx and httpx2 share.
"""

from __future__ import annotations

import re
from typing import Final

from llmcore.errors import IncompleteReply, MalformedReply, ProviderError, Timeout, Unavailable
from llmcore.support.errors import list_causes

__all__ = ["translate_http_error", "was_sent"]

_NOT_CONNECTED: Final = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "LocalProtocolError",
    }
)
"""Exceptions that occur before the first byte is sent, so that no cost can arise."""
_HEADERS_TOO_LARGE: Final = re.compile(
    r"receive buffer too long|more than \d+ bytes|value is too long|line too long|too many headers",
    re.IGNORECASE,
)
_NO_ANSWER: Final = re.compile(r"disconnected|connection (?:was )?(?:closed|reset|lost)", re.IGNORECASE)
_BAD_CHUNK: Final = re.compile(r"\bchunk", re.IGNORECASE)
_NOT_HTTP: Final = re.compile(r"status line|request line", re.IGNORECASE)
_NOTES: Final = (
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", re.IGNORECASE),
        "SSL_CERT_FILE names a file of certificates to trust, such as those of a proxy or of a private server",
    ),
    (
        re.compile(r"WRONG_VERSION_NUMBER|RECORD_LAYER|HTTP_REQUEST|UNEXPECTED_MESSAGE|packet length"),
        "the port does not use TLS: base_url may need http://",
    ),
    (
        re.compile(
            r"Name or service not known|nodename nor servname|No address associated|getaddrinfo failed"
            r"|name resolution|Name does not resolve|Domain name not found|DNS",
            re.IGNORECASE,
        ),
        "the host is unknown: check base_url and the network",
    ),
)


def translate_http_error(  # noqa: PLR0911 - one `return` for each kind of failure
    raised: BaseException, *, provider: str, address: str, text: str, begun: bool, proxy: str = ""
) -> ProviderError:
    """Return the error to raise in place of *raised*.

    Args:
        raised: The exception of the HTTP client. The function reads the exception and does not store it.
        provider: The provider's name.
        address: The address of the server, without password and query.
        text: The class and the message of *raised*, scrubbed; see `scrub`.
        begun: True if the head of the answer had arrived.
        proxy: The proxy's address without its password, for errors; empty for none.
    """
    if isinstance(raised, TimeoutError):
        return Timeout(
            f"{address} did not complete its answer in time, or stopped sending", provider=provider
        )
    kinds = {kind.__name__ for kind in type(raised).__mro__}
    if "TimeoutException" in kinds:
        did = "stopped sending in the middle of its answer" if begun else "did not answer in time"
        return Timeout(f"{address} {did} ({type(raised).__name__})", provider=provider)
    if isinstance(raised, UnicodeDecodeError):
        return MalformedReply(f"{address} answered with text that is not UTF-8 ({text})", provider=provider)
    if "DecodingError" in kinds:
        return MalformedReply(f"the answer cannot be decompressed ({text})", provider=provider)
    begun = begun or bool(_BAD_CHUNK.search(text))
    if "RemoteProtocolError" in kinds and not begun and not _NO_ANSWER.search(text):
        return _make_no_http_error(text, address, provider)
    # `EndOfStream` is an exception of anyio. The HTTP client does not translate it if TLS ends early.
    if not kinds & {"RequestError", "OSError", "EndOfStream"}:
        return ProviderError(f"the request failed ({text})", provider=provider)
    if begun:
        return IncompleteReply(f"the connection broke inside the answer ({text})", provider=provider)
    return _make_unreachable_error(raised, text, address, provider, proxy)


def was_sent(raised: BaseException) -> bool:
    """Return False if certainly no byte of the request has reached the server, otherwise True."""
    return not any(kind.__name__ in _NOT_CONNECTED for kind in type(raised).__mro__)


def _make_no_http_error(text: str, address: str, provider: str) -> MalformedReply:
    if _HEADERS_TOO_LARGE.search(text):
        return MalformedReply(
            f"{address} answered with headers that are too large ({text})",
            provider=provider,
            expected="at most 100 KB of headers",
        )
    needs_tls = address.startswith("http://") and _NOT_HTTP.search(text)
    return MalformedReply(
        f"{address} did not answer with HTTP ({text})",
        provider=provider,
        expected="an HTTP server",
        notes=("a server that uses TLS needs https:// in base_url",) if needs_tls else (),
    )


def _make_unreachable_error(
    raised: BaseException, text: str, address: str, provider: str, proxy: str
) -> Unavailable:
    words = " ".join(f"{type(each).__name__} {each}" for each in list_causes(raised))
    if proxy:
        note = f"the request goes through the proxy {proxy}; NO_PROXY excludes a host from it"
    else:
        note = next(
            (note for pattern, note in _NOTES if pattern.search(words)), "check base_url and the network"
        )
    through = f" through the proxy {proxy}" if proxy else ""
    return Unavailable(f"{address} cannot be reached{through} ({text})", provider=provider, notes=(note,))
