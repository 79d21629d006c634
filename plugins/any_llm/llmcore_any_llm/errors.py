"""Translate exceptions of any-llm, and of the vendors' SDKs that it uses, to errors of llmcore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from any_llm import exceptions as foreign  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ContentFiltered,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    PluginBroken,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.support.errors import list_causes
from llmcore.support.http import classify_status, parse_retry_after, scrub, translate_http_error, was_sent
from llmcore_any_llm.vendors import VENDORS

__all__ = ["Facts", "translate_error"]

_PROVIDER: Final = "any_llm"
_SUCCESS: Final = range(200, 300)
_BY_CLASS: Final[tuple[tuple[type[foreign.AnyLLMError], type[ProviderError]], ...]] = (
    (foreign.RateLimitError, RateLimited),
    (foreign.AuthenticationError, AuthenticationFailed),
    (foreign.ModelNotFoundError, NotFound),
    (foreign.ContentFilterError, ContentFiltered),
    (foreign.InsufficientFundsError, QuotaExhausted),
    (foreign.GatewayTimeoutError, Timeout),
    (foreign.UpstreamProviderError, Unavailable),
    (foreign.ContextLengthExceededError, BadRequest),
    (foreign.InvalidRequestError, BadRequest),
    (foreign.UnsupportedParameterError, BadRequest),
)
_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "invalid_api_key": AuthenticationFailed,
    "model_not_found": NotFound,
    "content_filter": ContentFiltered,
    "overloaded_error": Unavailable,
    "context_length_exceeded": BadRequest,
}
"""Error code of a vendor -> error class. The codes are more specific than any-llm's exception classes."""
_LONGEST: Final = 80
"""Maximum length of the name of a parameter."""
_NETWORK: Final = frozenset(
    {"TransportError", "TimeoutException", "RequestError", "DecodingError", "OSError"}
)
"""Names of the exception classes of httpx, httpx2 and the standard library that `translate_http_error` knows."""


class Facts:
    """Facts of one client for its errors: the vendor, the address, and the key, which errors must not contain."""

    def __init__(self, vendor: str, address: str, key: str | None, key_variable: str) -> None:
        self.vendor = vendor
        self.address = address
        self.key = key
        self.key_variable = key_variable

    def scrub(self, text: str) -> str:
        """Return *text* without anything that looks like a key."""
        return scrub(text, self.key)


def translate_error(  # noqa: PLR0911 - one return for each kind of exception
    raised: Exception, facts: Facts, *, begun: bool = False
) -> LLMCoreError:
    """Return the error for *raised*. The error keeps no reference to *raised*.

    Args:
        raised: The exception that any-llm raised.
        facts: The facts of the client that raised the exception.
        begun: True if a part of the answer had arrived.
    """
    if isinstance(raised, LLMCoreError):
        return raised
    if isinstance(raised, foreign.MissingApiKeyError):
        return _make_key_error(raised.env_var_name, facts)
    if isinstance(raised, foreign.UnsupportedProviderError):
        return _make_vendor_error(facts)
    if isinstance(raised, ImportError):
        return PluginBroken(
            f"any-llm cannot ask `{facts.vendor}`: a package that it needs is not installed",
            expected=f"the packages of any-llm for `{facts.vendor}`",
            fix=f"pip install 'any-llm-sdk[{facts.vendor}]'",
        )
    # This is the ValidationError of pydantic, which this plugin does not import.
    if type(raised).__name__ == "ValidationError" and hasattr(raised, "errors"):
        fields = ", ".join(".".join(map(str, each["loc"])) for each in raised.errors()[:3])
        kind: type[ProviderError] = MalformedReply if begun else BadRequest
        return kind(f"any-llm does not accept {fields or 'the request'}", provider=_PROVIDER)
    if isinstance(raised, foreign.AnyLLMError):
        return _convert(raised, facts, begun=begun)
    return _describe(raised, facts, begun=begun)


def _convert(raised: foreign.AnyLLMError, facts: Facts, *, begun: bool) -> ProviderError:
    status, original = raised.status_code, raised.original_exception
    if status is None and original is not None:
        found = _describe(original, facts, begun=begun)
        if type(found) is not ProviderError:
            return found
    codes = [code.lower() for code in (raised.code, raised.error_type) if code]
    if begun and status in {None, *_SUCCESS}:
        kind = next((_BY_CODE[code] for code in codes if code in _BY_CODE), IncompleteReply)
    elif status in _SUCCESS:
        kind = MalformedReply
    else:
        by_class = next((ours for theirs, ours in _BY_CLASS if isinstance(raised, theirs)), None)
        kind = next((_BY_CODE[code] for code in codes if code in _BY_CODE), by_class) or (
            Unavailable if status is None else classify_status(status)
        )
    error = kind(
        f"{facts.vendor} through any-llm: {facts.scrub(raised.message)}",
        provider=_PROVIDER,
        status=status,
        where=raised.param if kind is BadRequest and raised.param and len(raised.param) < _LONGEST else None,
        retry_after=_read_pause(raised),
    )
    if kind is AuthenticationFailed:
        error.fix = f"export {facts.key_variable}=..." if facts.key_variable.isidentifier() else None
    return error


def _read_pause(raised: foreign.AnyLLMError) -> float | None:
    pause = getattr(raised, "retry_after", None)
    return parse_retry_after({"retry-after": str(pause)}) if pause else None


def _describe(raised: Exception, facts: Facts, *, begun: bool) -> ProviderError:
    """Return the error for an exception of an SDK, an HTTP client or Python."""
    text = facts.scrub(f"{type(raised).__name__}: {raised}")
    causes = list(list_causes(raised))
    network = next(
        (each for each in causes if _NETWORK & {kind.__name__ for kind in type(each).__mro__}), None
    )
    if isinstance(raised, TimeoutError) or "Timeout" in type(raised).__name__:
        return Timeout(f"{facts.address} did not answer in time, or stopped sending", provider=_PROVIDER)
    if network is not None:
        error = translate_http_error(
            network, provider=_PROVIDER, address=facts.address, text=text, begun=begun
        )
        error.sent = was_sent(network)
        return error
    if any(isinstance(each, json.JSONDecodeError | UnicodeDecodeError) for each in causes) or begun:
        return MalformedReply(
            f"{facts.vendor} answered with something that any-llm cannot read ({text})", provider=_PROVIDER
        )
    if isinstance(raised, TypeError | ValueError | NotImplementedError):  # raised before a request is sent
        return BadRequest(f"any-llm cannot send the request to {facts.vendor} ({text})", provider=_PROVIDER)
    return ProviderError(f"{facts.vendor} through any-llm failed ({text})", provider=_PROVIDER)


def _make_key_error(variable: str, facts: Facts) -> ConfigError:
    return ConfigError(
        f"no API key for `{facts.vendor}` of any-llm: {variable} is not set",
        code="LC201",
        where="[llm.any_llm] api_key",
        expected=f"the key in the environment variable {variable}",
        fix=f"export {variable}=..." if variable.isidentifier() else None,
    )


def _make_vendor_error(facts: Facts) -> BadRequest:
    from difflib import get_close_matches

    nearest = next(iter(get_close_matches(facts.vendor, VENDORS, n=1)), None)
    return BadRequest(
        f"any-llm has no provider `{facts.vendor}`",
        provider=_PROVIDER,
        code="LC308",
        where="model",
        expected="one of " + ", ".join(sorted(VENDORS)),
        suggestion=nearest and f"{nearest}:MODEL",
        fix=nearest and f'model="any_llm:{nearest}:MODEL"',
    )
