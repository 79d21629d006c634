"""Complete the error of a call: add the setting that caused the error, the attempts, the duration and a fix.

A provider reports only the server's answer. The host knows which configuration line selected the server, how often the
request was sent, and which setting changes the number of attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from llmcore.calls.backend import Backend
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    IncompleteReply,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)

__all__ = ["CallFacts", "complete_failure", "copy_error"]

E = TypeVar("E", bound=Exception)
Path = tuple[str, ...]

_DEADLINE: Final = ("retry", "deadline")
_ATTEMPTS: Final = ("retry", "attempts")
_MOST_ATTEMPTS: Final = 8
_LONGEST_VALUE: Final = 60
_WHOLE: Final[Mapping[str, str]] = {"stream": "chat", "send_stream": "send"}
"""Streaming method -> the method for a complete answer."""
_REQUESTS_PER_MINUTE: Final = 20
"""The limit in a suggested fix if the server does not report its limit."""
_EXPECTED: Final[tuple[tuple[type[ProviderError], str], ...]] = (
    (AuthenticationFailed, "a key that the server accepts"),
    (QuotaExhausted, "an account with quota left"),
    (RateLimited, "fewer requests a minute than the server allows"),
    (NotFound, "a model that the server has, and a base URL without the path of the API method"),
    (ContentFiltered, "a prompt and an answer that the content policy of the server allows"),
    (BadRequest, "a request that the server accepts"),
    (Timeout, "an answer before the deadline (timeout=, or deadline in [retry])"),
    (IncompleteReply, "a complete answer"),
    (MalformedReply, "an answer in the format of the API"),
    (Unavailable, "a server that can be reached and answers with status 200"),
)


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about a failed call that the host knows and the provider does not."""

    backend: Backend
    model: str
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    model_path: Path | None = None
    """The setting with the model's name; None if the caller passed the model."""
    timeout_s: float | None = None
    """The caller's timeout in seconds; None means the timeout of [retry]."""
    method: str = "chat"
    """The public method that the application called. Fixes show a call of this method."""
    attempts: int
    elapsed_s: float


def complete_failure(error: ProviderError, facts: CallFacts) -> None:
    """Add place, expectation, attempts, duration and fix to *error*. A second call changes nothing."""
    if error.elapsed_s is not None:
        return
    backend = facts.backend
    error.provider = error.provider or backend.name
    error.model, error.attempts, error.elapsed_s = facts.model or None, facts.attempts, facts.elapsed_s
    if error.where is None:
        error.where, error.excerpt = _find_place(error, facts)
    elif error.where in facts.parameters:  # `where` is the name of a parameter that the server rejected
        name, value = error.where, str(facts.parameters[error.where])
        error.where = f"{name}={value[:_LONGEST_VALUE]}"
        error.fix = error.fix or f"{facts.method}(...) without {name}="
    error.expected = error.expected or next(
        (expected for kind, expected in _EXPECTED if isinstance(error, kind)), None
    )
    error.notes = (_summarize(error, facts), *error.notes)
    if error.retry_after:
        error.notes += (f"the server requests a pause of {error.retry_after:g} s (Retry-After)",)
    error.fix = error.fix or _find_fix(error, facts)
    if isinstance(error, RateLimited) and error.fix != (line := _fix_rate(error, backend)):
        error.notes += (f"to stay below the limit of the server: {line}",)


def copy_error(error: E) -> E:
    """Return a copy of *error* without its traceback, so that each caller can add a traceback and notes."""
    copy = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy


def _summarize(error: ProviderError, facts: CallFacts) -> str:
    name = f"{facts.backend.name}:{facts.model}" if facts.model else facts.backend.name
    status = f", status {error.status}" if error.status else ""
    times = "1 attempt" if facts.attempts == 1 else f"{facts.attempts} attempts"
    return f"{name}{status}, {times} in {facts.elapsed_s:.1f} s"


def _find_place(error: ProviderError, facts: CallFacts) -> tuple[str, str | None]:
    """Return the place of the setting or argument that caused *error*, and the line of the file, if a file sets it."""
    if isinstance(error, Timeout) and facts.timeout_s is not None:
        return f"timeout={facts.timeout_s:g}", None
    if _is_about_model(error) and facts.model_path is None and facts.model:
        return f'model="{facts.model}"', None
    return facts.backend.locate(*_list_paths(error, facts))


def _is_about_model(error: ProviderError) -> bool:
    """Return whether another model could help. It could not if the fix names `base_url`: then the address is wrong."""
    if isinstance(error, NotFound):
        return error.fix is None or "base_url" not in error.fix
    return isinstance(error, BadRequest | ContentFiltered)


def _list_paths(error: ProviderError, facts: CallFacts) -> list[Path]:
    """Return the settings that may have caused *error*, the most likely first."""
    kind, name = facts.backend.kind, facts.backend.name
    model = [] if facts.model_path is None else [facts.model_path]
    own: list[Path] = [(kind, name, "base_url"), (kind, name)]
    if isinstance(error, AuthenticationFailed | QuotaExhausted):
        own.insert(0, (kind, name, "api_key"))
    elif isinstance(error, Timeout):
        own.insert(0, _DEADLINE)
    elif _is_about_model(error):
        return [*model, *own, (kind, "provider")]
    elif isinstance(error, RateLimited):
        own[:0] = [("limits", f"{name}:{facts.model}"), ("limits", name)]
    return [*own, *model, (kind, "provider")]


def _find_fix(error: ProviderError, facts: CallFacts) -> str | None:
    backend = facts.backend
    if isinstance(error, AuthenticationFailed | QuotaExhausted):
        return _fix_key(backend)
    if isinstance(error, RateLimited):
        attempts = max(facts.attempts, _read_number(backend.get_written(_ATTEMPTS)))
        more = attempts < _MOST_ATTEMPTS
        return backend.format_set_line(_ATTEMPTS, str(_MOST_ATTEMPTS)) if more else _fix_rate(error, backend)
    if isinstance(error, Timeout):
        return _fix_timeout(facts)
    if isinstance(error, IncompleteReply) and facts.method in _WHOLE:
        return f"core.llm.{_WHOLE[facts.method]}(...)"
    if isinstance(error, Unavailable | IncompleteReply | MalformedReply):
        made = max(facts.attempts, _read_number(backend.get_written(_ATTEMPTS)))
        outlast = error.retryable and not _is_refused(error) and made < _MOST_ATTEMPTS
        return (
            backend.format_set_line(_ATTEMPTS, str(_MOST_ATTEMPTS))
            if outlast
            else backend.format_command("doctor")
        )
    return None


def _fix_rate(error: RateLimited, backend: Backend) -> str:
    """Return the line that sets requests_per_minute in [limits] to the server's limit.

    If the configured limit is not higher than the server's, the line sets half of the configured limit.
    """
    allowed: Any = getattr(error.limits, "requests_limit", None)
    rate = allowed if isinstance(allowed, int) and allowed > 0 else _REQUESTS_PER_MINUTE
    path = ("limits", backend.name, "requests_per_minute")
    configured = _read_number(backend.get_written(path))
    if 0 < configured <= rate:
        rate = max(1, configured // 2)
    return backend.format_set_line(path, str(rate))


def _read_number(written: Any) -> int:
    return int(written) if isinstance(written, int | float) or str(written).isdecimal() else 0


def _is_refused(error: ProviderError) -> bool:
    """Return whether the connection was refused, so that further attempts would not help."""
    return isinstance(error, Unavailable) and error.status is None and not error.sent


def _fix_key(backend: Backend) -> str:
    """Return the line that replaces the rejected key in the environment variable or setting that contains it."""
    path = (backend.kind, backend.name, "api_key")
    written = backend.get_written(path)
    if isinstance(written, str) and written.startswith("env:"):
        return f"export {written.removeprefix('env:')}=sk-..."
    variable = f"{backend.name.upper().replace('-', '_')}_API_KEY"
    if written is None:
        return f"export {variable}=sk-..."
    return backend.format_set_line(path, f"env:{variable}")


def _fix_timeout(facts: CallFacts) -> str:
    if facts.timeout_s is not None:
        return f"{facts.method}(..., timeout={max(round(facts.timeout_s * 2), 120)})"
    policy = facts.backend.get_written(_DEADLINE)
    seconds = 600.0
    if policy is not None:
        from llmcore.units import Duration

        seconds = policy if isinstance(policy, int | float) else float(Duration.parse(str(policy)))
    return facts.backend.format_set_line(_DEADLINE, f"{max(round(seconds * 2), 120)}s")
