"""Every exception that llmcore raises.

::

    LLMCoreError
      ConfigError            (a ValueError too)
      PluginError            PluginNotFound, PluginBroken, PluginConflict
      UnknownArgument        (a TypeError too)
      ProviderError          AuthenticationFailed, QuotaExhausted, RateLimited, BadRequest, NotFound,
                             ContentFiltered, Timeout, Unavailable, IncompleteReply, MalformedReply
      BudgetError            BudgetExceeded, PriceUnknown
      LedgerError            LedgerUnavailable. For reading the ledger; a request under a budget raises BudgetError
      EngineError
      CacheError             CacheUnavailable
      StorageError           StorageKeyError, StorageNotFound (a FileNotFoundError too), StorageExists, StorageReadOnly,
                             StorageFull, StorageChanged, StorageUnavailable, StorageDenied
      VoiceError             VoiceNotFound (a ValueError too), TextTooLong, NotAudio

A call raises only these exceptions. The message describes a foreign exception in words; the exception itself is
dropped, because it may hold the request with its API key.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from errno import ENOENT
from typing import TYPE_CHECKING, Any

from llmcore.error_base import LLMCoreError

if TYPE_CHECKING:
    from llmcore.types import RateLimits

__all__ = [
    "AuthenticationFailed", "BadRequest", "BudgetError", "BudgetExceeded", "CacheError",
    "CacheUnavailable", "ConfigError", "ContentFiltered", "EngineError", "IncompleteReply", "LLMCoreError",
    "LedgerError", "LedgerUnavailable", "MalformedReply", "NotAudio", "NotFound", "PluginBroken", "PluginConflict",
    "PluginError", "PluginNotFound", "PriceUnknown", "ProviderError", "QuotaExhausted", "RateLimited",
    "StorageChanged", "StorageDenied", "StorageError", "StorageExists", "StorageFull",
    "StorageKeyError", "StorageNotFound", "StorageReadOnly", "StorageUnavailable", "TextTooLong",
    "Timeout", "Unavailable", "UnknownArgument", "VoiceError", "VoiceNotFound",
]  # fmt: skip


class ConfigError(LLMCoreError, ValueError):
    """A setting is missing, misspelt or not valid; `faults` has all faults if there are several."""

    code = "LC100"
    faults: tuple[ConfigError, ...] = ()
    """All faults, if more than one was found; otherwise empty."""

    @classmethod
    def of(cls, faults: Sequence[ConfigError]) -> ConfigError:
        """Return the only fault, or combine several faults into one error."""
        if len(faults) == 1:
            return faults[0]
        first = faults[0]
        error = cls(f"{len(faults)} faults in the configuration", code=first.code, where=first.where)
        error.expected, error.suggestion, error.fix = first.expected, first.suggestion, first.fix
        error.faults = tuple(faults)
        return error

    def __str__(self) -> str:
        if not self.faults:
            return super().__str__()
        return "\n\n".join([f"{self.message}:", *(fault.render() for fault in self.faults)])

    def render(self) -> str:
        """Return each fault as the command line shows it."""
        if not self.faults:
            return super().render()
        return "\n\n".join(fault.render() for fault in self.faults)


class PluginError(LLMCoreError):
    """A plugin cannot be used."""

    code = "LC500"


class PluginNotFound(PluginError):
    """No installed plugin offers the requested provider."""

    code = "LC103"


class PluginBroken(PluginError):
    """The plugin that offers this provider did not load, or was built for another version of the hooks."""

    code = "LC501"


class PluginConflict(PluginError):
    """Several distributions claim one provider's name."""

    code = "LC110"


class UnknownArgument(LLMCoreError, TypeError):
    """A call has a keyword argument that the function does not accept."""

    code = "LC310"


class ProviderError(LLMCoreError):
    """A backend refused a request, or failed."""

    code = "LC400"
    retryable = False
    """True if the same request may succeed when it is sent again later."""

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        partial: str | None = None,
        request_id: str | None = None,
        sent: bool = True,
        answered: bool | None = None,
        code: str | None = None,
        where: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
        fix: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(
            message, code=code, where=where, expected=expected, suggestion=suggestion, fix=fix, notes=notes
        )
        self.provider = provider
        """The name of the provider; None if the error arose before a provider was chosen."""
        self.status = status
        """The HTTP status of the answer; None if the server did not answer."""
        self.retry_after = retry_after
        """The seconds that the backend asked the client to wait."""
        self.partial = partial
        """Text that had arrived before the failure."""
        self.request_id = request_id
        """The backend's id of the request. The vendor's support asks for this id."""
        self.sent = sent
        """False if no byte of the request reached the backend. Such a request cost nothing."""
        self.model: str | None = None
        """The requested model; None if the error arose before a model was chosen."""
        self.attempts = 0
        """The number of requests that the call sent, including the failed one.

        The host sets this attribute and the next two.
        """
        self.elapsed_s: float | None = None
        """Seconds from the first attempt to this error."""
        self.failures: tuple[ProviderError, ...] = ()
        """If an alias was called: the error of each model, in the order in which the models were tried."""
        if answered is not None:
            self.answered = answered


class AuthenticationFailed(ProviderError):
    """The key is missing, wrong, or lacks a permission."""

    code = "LC202"


class QuotaExhausted(ProviderError):
    """The account has no money or quota left; waiting does not help."""

    code = "LC403"


class RateLimited(ProviderError):
    """The backend received too many requests or tokens; it may accept the request later."""

    code = "LC402"
    retryable = True
    limits: RateLimits | None = None
    """The rate limits that the backend reported."""


class BadRequest(ProviderError):
    """The request is not valid; `status` is None if it was never sent."""

    code = "LC300"


class NotFound(ProviderError):
    """The model or the URL does not exist."""

    code = "LC301"


class ContentFiltered(ProviderError):
    """The backend's content policy stopped the prompt or the answer."""

    code = "LC305"


class Timeout(ProviderError):
    """The deadline or the idle timeout passed."""

    code = "LC404"
    retryable = True


class Unavailable(ProviderError):
    """The backend could not be reached, or failed on its side."""

    code = "LC401"
    retryable = True


class IncompleteReply(ProviderError):
    """The answer broke off; `partial` has the text that had arrived.

    `answered` is True if the backend itself ended the answer.
    """

    code = "LC405"
    retryable = True


class MalformedReply(ProviderError):
    """The response has a status of success but is not an answer: not JSON, malformed, or without a choice."""

    code = "LC406"
    answered = True


class BudgetError(LLMCoreError):
    """A budget does not allow the call. The request was not sent."""

    code = "LC600"


class BudgetExceeded(BudgetError):
    """The maximum cost of the call, or the number of its characters, is more than a budget has left."""

    code = "LC601"

    def __init__(
        self,
        message: str,
        *,
        budget: str = "",
        limit: Decimal | None = None,
        spent: Decimal | None = None,
        reserved: Decimal | None = None,
        unit: str = "USD",
        resets_at: str | None = None,
        expected: str | None = None,
        notes: Sequence[str] = (),
        fix: str | None = None,
    ) -> None:
        super().__init__(message, expected=expected, notes=notes, fix=fix)
        self.budget = budget
        """The readable name of the budget: "day", "month openai:gpt-6-sol"."""
        self.limit = limit
        """The limit of the budget. `limit`, `spent` and `reserved` are amounts in `unit`."""
        self.spent = spent
        """The amount that is settled in the period."""
        self.reserved = reserved
        """The amount that is reserved for requests in progress."""
        self.unit = unit
        """USD, or characters."""
        self.resets_at = resets_at
        """The time at which the budget resets, ISO 8601 in UTC; None if the budget never resets."""


class PriceUnknown(BudgetError):
    """A budget applies, but the price of the model is unknown."""

    code = "LC602"


class LedgerError(LLMCoreError):
    """The ledger does not have the requested data, or cannot be read."""

    code = "LC610"


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached, read or written. Providers of the kind `ledger` raise this error.

    A model call does not raise it. If a budget with `on_exceed = "refuse"` applies, the call raises a `BudgetError` with
    the code LC603 instead; otherwise the call goes on.
    """

    code = "LC611"

    def __init__(self, message: str, *, busy: bool = False, unknown: bool = False, **parts: Any) -> None:
        super().__init__(message, **parts)
        self.busy = busy
        """True if the same operation may succeed a moment later: a lock is held, or the server restarts."""
        self.unknown = unknown
        """True if the operation may have been carried out nevertheless: the connection ended before the answer."""


class EngineError(LLMCoreError):
    """An engine cannot run a chunk of a batch. Providers of the kind `engines` raise this error."""

    code = "LC330"

    def __init__(self, message: str, *, lost: bool = False, **parts: Any) -> None:
        super().__init__(message, **parts)
        self.lost = lost
        """True if the worker ended or can no longer be reached. The host then submits the chunk again."""


class CacheError(LLMCoreError):
    """An operation of `core.cache` failed. A request to a model or a voice never fails because of the cache."""

    code = "LC700"


class CacheUnavailable(CacheError):
    """The cache's backend cannot be reached, or does not answer in time."""

    code = "LC710"


class StorageError(LLMCoreError):
    """A storage refused an operation, or failed. No file was partly changed."""

    code = "LC800"


class StorageKeyError(StorageError):
    """The key is not valid."""

    code = "LC801"


class StorageNotFound(StorageError, FileNotFoundError):
    """No file is stored under the key."""

    code = "LC802"
    errno = ENOENT


class StorageExists(StorageError):
    """A file is already stored under the key."""

    code = "LC803"


class StorageReadOnly(StorageError):
    """The storage is read-only."""

    code = "LC804"


class StorageFull(StorageError):
    """The storage has no space left."""

    code = "LC805"


class StorageChanged(StorageError):
    """The stored file is not the expected version."""

    code = "LC806"


class StorageUnavailable(StorageError):
    """The storage's server cannot be reached, failed on its side, or does not answer in time."""

    code = "LC807"


class StorageDenied(StorageError):
    """The storage's server does not accept the credentials, or the credentials do not permit the operation."""

    code = "LC808"


class VoiceError(LLMCoreError):
    """A voice provider refused a request, or failed."""

    code = "LC900"


class VoiceNotFound(VoiceError, ValueError):
    """The provider has no such voice."""

    code = "LC901"


class TextTooLong(VoiceError):
    """The text is longer than one request of the provider allows."""

    code = "LC902"


class NotAudio(VoiceError):
    """The received audio is not playable."""

    code = "LC903"
    answered = True
