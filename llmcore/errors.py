"""Every exception that llmcore raises.

::

    LLMCoreError
      ConfigError            (a ValueError too)
      PluginError            PluginNotFound, PluginBroken, PluginConflict
      ProviderError          AuthenticationFailed, QuotaExhausted, RateLimited, BadRequest, NotFound,
                             ContentFiltered, Timeout, Unavailable, IncompleteReply, MalformedReply
      BudgetError            BudgetExceeded, PriceUnknown
      LedgerError            for those who read the ledger; a call is only failed by one where a budget applies
      CacheError             CacheUnavailable
      StorageError           StorageKeyError, StorageNotFound, StorageExists, StorageReadOnly, StorageFull,
                             StorageChanged, StorageUnavailable, StorageDenied
      VoiceError             VoiceNotFound, TextTooLong, NotAudio

Nothing foreign leaves a call: what an SDK, a database or the operating system raised arrives as one of
these, described in words and without the object that held the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcore.types import RateLimits

__all__ = [
    "AuthenticationFailed", "BadRequest", "BudgetError", "BudgetExceeded", "CacheError",
    "CacheUnavailable", "ConfigError", "ContentFiltered", "IncompleteReply", "LLMCoreError",
    "LedgerError", "MalformedReply", "NotAudio", "NotFound", "PluginBroken", "PluginConflict",
    "PluginError", "PluginNotFound", "PriceUnknown", "ProviderError", "QuotaExhausted", "RateLimited",
    "StorageChanged", "StorageDenied", "StorageError", "StorageExists", "StorageFull",
    "StorageKeyError", "StorageNotFound", "StorageReadOnly", "StorageUnavailable", "TextTooLong",
    "Timeout", "Unavailable", "VoiceError", "VoiceNotFound",
]  # fmt: skip


class LLMCoreError(Exception):
    """Say what happened, where, what was expected, and how to mend it.

    `str()` gives all of it on several lines; the parts are attributes, for programs.
    """

    code = "LC000"
    """Stable name of this kind of failure, for searches and for `--json`."""
    answered = False
    """Whether a backend had answered when this came up, so that it may have to be paid."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str | None = None,
        excerpt: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
        fix: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.where = where
        """Where the cause stands: `file:line:column`, or the argument that brought it."""
        self.excerpt = excerpt
        """The line at fault and a second one that points into it."""
        self.expected = expected
        self.suggestion = suggestion
        """The nearest name that would have been right."""
        self.fix = fix
        """A line to paste that mends it."""
        self.notes = tuple(notes)

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f" --> {self.where}")
        if self.excerpt:
            lines.append(self.excerpt)
        if self.expected:
            lines.append(f"  = expected: {self.expected}")
        if self.suggestion:
            lines.append(f"  = help: did you mean `{self.suggestion}`?")
        lines.extend(f"  = note: {note}" for note in self.notes)
        if self.fix:
            lines.append(f"  = fix: {self.fix}")
        return "\n".join(lines)

    def render(self) -> str:
        """Return the text that a command line shows, its code in front."""
        return f"error[{self.code}]: {self}"


class ConfigError(LLMCoreError, ValueError):
    """A setting is missing, misspelt or does not fit; every fault found is in `faults`."""

    code = "LC100"
    faults: tuple[ConfigError, ...] = ()
    """Empty unless several faults were found at once."""

    @classmethod
    def of(cls, faults: Sequence[ConfigError]) -> ConfigError:
        """Return the one fault, or one error that tells them all."""
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
    """A plugin cannot serve."""

    code = "LC500"


class PluginNotFound(PluginError):
    """No installed plugin offers the provider that was asked for."""

    code = "LC103"


class PluginBroken(PluginError):
    """The plugin that offers this provider did not load, or was built for other hooks."""

    code = "LC501"


class PluginConflict(PluginError):
    """Several distributions claim one provider's name."""

    code = "LC110"


class ProviderError(LLMCoreError):
    """A backend refused or failed."""

    code = "LC400"
    retryable = False
    """Whether the same request may succeed a moment later."""

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
        self.status = status
        """HTTP status, where there was one."""
        self.retry_after = retry_after
        """Seconds that the backend asked to wait."""
        self.partial = partial
        """Text that had arrived before the failure."""
        self.request_id = request_id
        """The backend's own name for the request, for its support."""
        self.sent = sent
        """False where it is certain that no byte of the request reached the backend: then it cannot have cost anything."""


class AuthenticationFailed(ProviderError):
    """The key is missing, wrong, or may not do this."""

    code = "LC202"


class QuotaExhausted(ProviderError):
    """The account has no money or quota left; waiting does not help."""

    code = "LC403"


class RateLimited(ProviderError):
    """Too many requests or tokens for now."""

    code = "LC402"
    retryable = True
    limits: RateLimits | None = None
    """What the backend said of its rate limits."""


class BadRequest(ProviderError):
    """The request is not acceptable as it is; `status` is None where it was never sent."""

    code = "LC300"


class NotFound(ProviderError):
    """The model or the address does not exist."""

    code = "LC301"


class ContentFiltered(ProviderError):
    """The backend's content policy stopped the prompt or the answer."""

    code = "LC305"


class Timeout(ProviderError):
    """The deadline, or the longest allowed silence, passed."""

    code = "LC404"
    retryable = True


class Unavailable(ProviderError):
    """The backend could not be reached, or failed on its side."""

    code = "LC401"
    retryable = True


class IncompleteReply(ProviderError):
    """The answer broke off; what had arrived is in `partial`."""

    code = "LC405"
    retryable = True


class MalformedReply(ProviderError):
    """What arrived is not an answer: not JSON, of another shape, or without a choice."""

    code = "LC406"
    retryable = True


class BudgetError(LLMCoreError):
    """A call was not made, because of money."""

    code = "LC600"


class BudgetExceeded(BudgetError):
    """What the call can cost at most, or the characters that it speaks, do not fit what is left."""

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
        fix: str | None = None,
    ) -> None:
        super().__init__(message, expected=expected, fix=fix)
        self.budget = budget
        self.limit = limit
        """In `unit`, as are `spent` and `reserved`."""
        self.spent = spent
        self.reserved = reserved
        self.unit = unit
        """USD, or characters."""
        self.resets_at = resets_at
        """ISO 8601 in UTC; None where it never does."""


class PriceUnknown(BudgetError):
    """A budget applies and nobody knows what the model costs."""

    code = "LC602"


class LedgerError(LLMCoreError):
    """The ledger was asked for what it does not have, or cannot be read."""

    code = "LC610"


class CacheError(LLMCoreError):
    """A cache could not be managed; a call is never failed by one."""

    code = "LC700"


class CacheUnavailable(CacheError):
    """The cache's backend cannot be reached, or does not answer in time."""

    code = "LC710"


class StorageError(LLMCoreError):
    """A storage refused or failed; nothing was half done."""

    code = "LC800"


class StorageKeyError(StorageError):
    """The key is not acceptable."""

    code = "LC801"


class StorageNotFound(StorageError):
    """Nothing is stored under the key."""

    code = "LC802"


class StorageExists(StorageError):
    """Something is already stored under the key."""

    code = "LC803"


class StorageReadOnly(StorageError):
    """The storage may not be written."""

    code = "LC804"


class StorageFull(StorageError):
    """The storage has no room."""

    code = "LC805"


class StorageChanged(StorageError):
    """What is stored under the key is not, or no longer, what was expected there."""

    code = "LC806"


class StorageUnavailable(StorageError):
    """The storage's server cannot be reached, failed on its side, or does not answer in time."""

    code = "LC807"


class StorageDenied(StorageError):
    """The storage's server does not accept the credentials, or they may not read there."""

    code = "LC808"


class VoiceError(LLMCoreError):
    """A voice refused or failed."""

    code = "LC900"


class VoiceNotFound(VoiceError):
    """The provider has no such voice."""

    code = "LC901"


class TextTooLong(VoiceError):
    """The text is longer than the provider takes in one piece."""

    code = "LC902"


class NotAudio(VoiceError):
    """What arrived cannot be played."""

    code = "LC903"
    answered = True
