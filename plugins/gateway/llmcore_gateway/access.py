"""Access control: check the `Host` of a request, the origin of web pages, and API keys."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcore.support.host_header import LOOPBACK_NAMES, get_host_name, is_loopback
from llmcore_gateway.error_answers import Refused
from llmcore_gateway.http_messages import Caller

if TYPE_CHECKING:
    from llmcore import ApiKey, Core
    from llmcore_gateway.options import GatewayOptions
    from llmcore_gateway.state import ServerState

__all__ = [
    "check_host",
    "check_origin",
    "find_caller",
    "find_hosts",
    "has_keys",
    "make_cors_headers",
]


def find_hosts(options: GatewayOptions) -> frozenset[str]:
    """Return the names that a `Host` header may have, in lower case; an empty set if any name is allowed."""
    if not options.hosts and not is_loopback(options.host):
        return frozenset()
    return LOOPBACK_NAMES | {name.strip("[]").lower() for name in (options.host, *options.hosts)}


def check_host(headers: Mapping[str, str], names: frozenset[str]) -> None:
    """Reject a `Host` header that is not in *names*.

    Without this check, a web page could reach this server under the page's own name (DNS rebinding).

    Raises:
        Refused: 403.
    """
    if names and get_host_name(headers) not in names:
        raise Refused(
            403,
            "permission_error",
            "the Host of the request is not a name of this server",
            code="host_not_allowed",
        )


def check_origin(headers: Mapping[str, str], options: GatewayOptions) -> None:
    """Refuse a request from a web page whose origin is not in the option `origins`.

    Raises:
        Refused: 403.
    """
    origin = headers.get("origin")
    if origin is not None and origin not in options.origins:
        raise Refused(
            403, "permission_error", "this origin may not call the gateway", code="origin_not_allowed"
        )


def make_cors_headers(headers: Mapping[str, str], options: GatewayOptions) -> dict[str, str]:
    """Return the headers that allow a web page of a listed origin to read the answer."""
    origin = headers.get("origin")
    if origin is None or origin not in options.origins:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "x-request-id, x-llmcore-cost, x-llmcore-cached, retry-after",
        "vary": "origin",
    }


def has_keys(core: Core) -> bool:
    """Return whether a key was ever created. Without a ledger, no key exists.

    Raises:
        LedgerError: The keys cannot be read.
    """
    ledger = core.settings.ledger
    return ledger.enabled and ledger.path is not None and core.keys.has_keys()


def find_caller(
    core: Core, state: ServerState, headers: Mapping[str, str], *, is_exposed: bool, is_page: bool = False
) -> tuple[Caller, ApiKey | None]:
    """Return the caller and the API key of a request.

    This function does not check the rate limit of the key. If no key was ever created, all callers on this
    machine are allowed. After the first key was created, or if *is_exposed* (other machines can reach the
    gateway), every request needs a key, even after a reload or if the ledger is turned off. For a page
    (*is_page*), the key may also be the password of HTTP Basic authentication, with any user name.

    Raises:
        Refused: 401, the key is missing or wrong.
        LedgerError: The keys cannot be read.
    """
    ledger = core.settings.ledger
    has_ledger = ledger.enabled and ledger.path is not None
    if not state.has_seen_keys:
        state.has_seen_keys = has_keys(core)
        if not state.has_seen_keys and not is_exposed:
            return Caller(), None
    text = _read_key(headers, is_page=is_page)
    key = core.keys.find(text) if text and has_ledger else None
    if key is None:
        raise Refused(
            401,
            "authentication_error",
            "the key is missing, wrong, expired or revoked: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            code="invalid_api_key",
            headers={"www-authenticate": 'Basic realm="llmcore", charset="UTF-8"' if is_page else "Bearer"},
        )
    return Caller(key.name, key.models), key


def _read_key(headers: Mapping[str, str], *, is_page: bool) -> str:
    """Return the text of the key in a request; empty text if there is none."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if is_page and scheme.lower() == "basic":
        try:
            return base64.b64decode(text, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return (text if scheme.lower() == "bearer" else headers.get("x-api-key", "")).strip()
