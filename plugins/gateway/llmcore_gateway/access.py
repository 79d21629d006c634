"""Access control: check the `Host` of a request, the origin of web pages, and API keys."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from llmcore_gateway.exchange import Caller
from llmcore_gateway.faults import Refused

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
    "is_loopback",
    "make_cors_headers",
]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches *host*."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def find_hosts(options: GatewayOptions) -> frozenset[str]:
    """Return the names of the server, in lower case; an empty set if any name is allowed."""
    if not options.hosts and not is_loopback(options.host):
        return frozenset()
    return _LOOPBACK | {name.strip("[]").lower() for name in (options.host, *options.hosts)}


def check_host(headers: Mapping[str, str], names: frozenset[str]) -> None:
    """Reject a `Host` header that is not in *names*.

    With DNS rebinding, a web page could reach this server under the page's own name.

    Raises:
        Refused: 403.
    """
    given = headers.get("host", "")
    name, _, port = given.rpartition(":")
    if not port.isdigit():
        name = given
    if names and name.strip("[]").lower() not in names:
        raise Refused(
            403,
            "permission_error",
            "the Host of the request is not a name of this server",
            code="host_not_allowed",
        )


def check_origin(headers: Mapping[str, str], options: GatewayOptions) -> None:
    """Refuse requests of web pages that are not listed.

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
    """Return whether a key was ever created. Without a ledger there are none.

    Raises:
        LedgerError: The keys cannot be read.
    """
    ledger = core.settings.ledger
    return ledger.enabled and ledger.path is not None and core.keys.exist()


def find_caller(
    core: Core, state: ServerState, headers: Mapping[str, str], *, is_exposed: bool
) -> tuple[Caller, ApiKey | None]:
    """Return the caller and the API key of a request.

    The rate limit of the key is checked afterwards. If no key was ever created, all callers on this machine are
    allowed. Once a key was seen, or if *is_exposed* (other machines can reach the gateway), every request needs a
    key, even after a reload or without the ledger.

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
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        text = headers.get("x-api-key", "")
    text = text.strip()
    key = core.keys.find(text) if text and has_ledger else None
    if key is None:
        raise Refused(
            401,
            "authentication_error",
            "the key is missing, wrong, expired or revoked: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    return Caller(key.name, key.models), key
