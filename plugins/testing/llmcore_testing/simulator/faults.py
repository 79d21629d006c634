"""The faults that the simulator can inject."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from llmcore.errors import ConfigError

__all__ = ["BATCH_FAULTS", "CREATING", "KINDS", "LOST", "REWRITING", "Fault", "parse_times"]

_STREAM_ONLY: Final = frozenset({"error_chunk", "bad_json_chunk"})
REWRITING: Final = frozenset({"usage", "missing_usage", "no_choices", "no_finish_reason", "wrong_schema"})
"""The kinds of faults that change the content of an answer. Each route lists the kinds that it supports."""
CREATING: Final = frozenset({"batch"})
"""The kind of fault that changes the outcome of a new batch."""
BATCH_FAULTS: Final = (
    "bad_line", "error_file_only", "expired", "half_done", "listed_late", "lost", "no_output_file", "reordered", "results_twice",
    "validation_failed",
)  # fmt: skip
"""The values of `how` in `Fault.batch`."""
LOST: Final = ("lost", "listed_late")
"""The values of `how` with which the simulator creates a batch, but sends no answer that confirms it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject. Create one with the static methods and pass it to `Simulator.fail`.

    `after` counts the events of a stream, or the bytes of a plain answer's body. A stream always breaks
    before the event with the finish_reason, so a broken answer never looks complete.
    """

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def status(
        status: int,
        *,
        retry_after: float | str | None = None,
        code: str | None = None,
        message: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with an HTTP status and an error in the format of the endpoint's vendor.

        Args:
            status: 200 to 599.
            retry_after: The value of the header `Retry-After`: seconds, a date, or an invalid text.
            code: For example "insufficient_quota" or "context_length_exceeded". None means the vendor's code for
                the status.
            message: The text of the error. None means the vendor's message for the status.
            body: Replaces the error. Text is sent unchanged, other values as JSON.
            headers: Additional headers.
        """
        _check("status", "status", status, 200, 599)
        settings = {"status": status, "code": code, "message": message, "body": body}
        extra = dict(headers or {})
        if retry_after is not None:
            extra["retry-after"] = str(retry_after)
        return Fault("status", {**settings, "headers": extra})

    @staticmethod
    def hang() -> Fault:
        """Accept the request and send nothing. The wait ends when the client disconnects or the simulator is reset."""
        return Fault("hang")

    @staticmethod
    def slow(seconds: float = 0.0, *, bytes_per_second: float | None = None) -> Fault:
        """Answer correctly but slowly: the first byte after *seconds*, then at most *bytes_per_second*."""
        _check("slow", "seconds", seconds, 0)
        if bytes_per_second is not None:
            _check("slow", "bytes_per_second", bytes_per_second, 1)
        return Fault("slow", {"seconds": seconds, "bytes_per_second": bytes_per_second})

    @staticmethod
    def cut_stream(after: int = 3, *, clean: bool = True) -> Fault:
        """End an answer before it is complete.

        With *clean*, a stream ends as valid HTTP, without the remaining events and `[DONE]`. Without *clean*, and for
        every plain answer, the connection closes in the middle of the body.
        """
        _check("cut_stream", "after", after, 0)
        return Fault("cut_stream", {"after": after, "clean": clean})

    @staticmethod
    def reset(after: int | None = None) -> Fault:
        """Reset the connection (RST): before the head, or after *after* events or bytes of the body."""
        if after is not None:
            _check("reset", "after", after, 0)
        return Fault("reset", {"after": after})

    @staticmethod
    def stall(after: int = 2) -> Fault:
        """Send the head and *after* events or bytes of the body, then nothing more."""
        _check("stall", "after", after, 0)
        return Fault("stall", {"after": after})

    @staticmethod
    def trickle(after: int = 0) -> Fault:
        """Send the head and *after* events or bytes of the body, then single bytes of white space until the client disconnects.

        Each read of the client returns quickly, so a timeout for single reads does not end the answer.
        """
        _check("trickle", "after", after, 0)
        return Fault("trickle", {"after": after})

    @staticmethod
    def error_chunk(
        after: int = 2, *, message: str = "The server had an error.", code: str | None = None
    ) -> Fault:
        """Send an error in place of an event, and end the stream. Applies to the next streaming request."""
        _check("error_chunk", "after", after, 0)
        return Fault("error_chunk", {"after": after, "message": message, "code": code})

    @staticmethod
    def bad_json_chunk(after: int = 2) -> Fault:
        """Insert an event with invalid JSON into a stream; the stream continues. Applies to the next streaming request."""
        _check("bad_json_chunk", "after", after, 0)
        return Fault("bad_json_chunk", {"after": after})

    @staticmethod
    def bad_json() -> Fault:
        """Answer 200 with truncated JSON."""
        return Fault("bad_json")

    @staticmethod
    def html(status: int = 200) -> Fault:
        """Answer with an HTML page, as a proxy or a login page would."""
        _check("html", "status", status, 200, 599)
        return Fault("html", {"status": status})

    @staticmethod
    def empty_body(status: int = 200) -> Fault:
        """Answer with an empty body."""
        _check("empty_body", "status", status, 200, 599)
        return Fault("empty_body", {"status": status})

    @staticmethod
    def big_body(megabytes: float = 64.0) -> Fault:
        """Answer with a text of *megabytes* (10**6 bytes each). Endpoints without texts answer with a chat completion."""
        _check("big_body", "megabytes", megabytes, 0)
        return Fault("big_body", {"megabytes": megabytes})

    @staticmethod
    def redirect(url: str, *, status: int = 307) -> Fault:
        """Redirect the client to *url*."""
        _check("redirect", "status", status, 300, 399)
        return Fault("redirect", {"url": url, "status": status})

    @staticmethod
    def wrong_schema() -> Fault:
        """Answer 200 with JSON that lacks the expected fields.

        Applies to chats, embeddings, token counts and the routes of a test.
        """
        return Fault("wrong_schema")

    @staticmethod
    def no_choices() -> Fault:
        """Answer with an empty list of choices, content blocks, output items or embeddings."""
        return Fault("no_choices")

    @staticmethod
    def no_finish_reason() -> Fault:
        """Answer a chat with finish_reason null. The answer is complete otherwise."""
        return Fault("no_finish_reason")

    @staticmethod
    def batch(how: str = "expired", *, then: Fault | None = None) -> Fault:
        """Make the next batch fail.

        Args:
            how: "expired" (before the first request), "half_done" (expired after half of the requests),
                "error_file_only" (each request failed with status 500), "no_output_file" (all requests succeeded, but
                the results are missing), "validation_failed", "results_twice", "reordered", "bad_line" (the first
                result is truncated), "lost" (the batch is created, but the connection is reset before the answer), or
                "listed_late" (as "lost", and the batch is missing in lists for three seconds).
            then: For "lost" and "listed_late": another fault in place of the reset, such as `Fault.status(524)`.
        """
        if how not in BATCH_FAULTS:
            raise ConfigError(
                f"`how` of the fault `batch` must be one of {', '.join(BATCH_FAULTS)}, got {how!r}",
                expected=", ".join(BATCH_FAULTS),
            )
        if then is not None and (not isinstance(then, Fault) or how not in LOST):
            raise ConfigError(
                f"`then` of the fault `batch` must be a fault, and `how` one of {', '.join(LOST)}",
                expected='Fault.batch("lost", then=Fault.status(524))',
            )
        return Fault("batch", {"how": how, "then": then})

    @staticmethod
    def missing_usage() -> Fault:
        """Leave `usage` out of the answer. An answer to a token count request lacks the number of tokens."""
        return Fault("missing_usage")

    @staticmethod
    def negative_usage() -> Fault:
        """Answer with negative token counts."""
        return Fault.usage(prompt_tokens=-1000, completion_tokens=-1000, total_tokens=-2000)

    @staticmethod
    def usage(**fields: Any) -> Fault:
        """Replace fields of `usage` by any JSON value or NaN.

        *fields* have the names of Chat Completions, or the names of the endpoint's own API.
        """
        return Fault("usage", fields)

    @classmethod
    def from_name(cls, kind: str, *values: Any, **settings: Any) -> Fault:
        """Return the fault named *kind*.

        Raises:
            ConfigError: The name is unknown, or the fault does not accept these settings.
        """
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1, cutoff=0.6)
            raise ConfigError(
                f"unknown fault `{kind}`",
                expected=", ".join(KINDS),
                suggestion=near[0] if near else None,
                fix="upstream.fail(Fault.status(500))",
            )
        try:
            made = getattr(cls, kind)(*values, **settings)
        except TypeError as exc:
            from inspect import signature

            wanted = str(signature(getattr(cls, kind))).partition(" ->")[0]
            message = str(exc).replace("Fault.", "").replace("()", "", 1)
            raise ConfigError(
                f"invalid settings for the fault `{kind}`: {message}", expected=f"{kind}{wanted}"
            ) from None
        assert isinstance(made, Fault)
        return made

    @classmethod
    def parse(cls, text: str) -> tuple[Fault, int | None]:
        """Parse "NAME:VALUE,NAME=VALUE,..." or "STATUS". Return the fault and the number of requests to fail.

        The setting `times` gives this number; for `times=always`, the number is None.

        Raises:
            ConfigError: The name is unknown, or the fault does not accept these settings.
        """
        kind, _, rest = text.strip().partition(":")
        values: list[Any] = []
        if kind.isdigit():
            kind, values = "status", [int(kind)]
        settings: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            if equals:
                settings[name.strip()] = _parse_value(value)
            else:
                values.append(_parse_value(name))
        return cls.from_name(
            kind, *values, **{k: v for k, v in settings.items() if k != "times"}
        ), parse_times(settings.get("times", 1))

    @property
    def stream_only(self) -> bool:
        """True if the fault applies only to streams."""
        return self.kind in _STREAM_ONLY

    @property
    def rewriting(self) -> bool:
        """True if the fault changes the content of an answer or the outcome of a new batch.

        Other faults affect the connection or replace the whole answer.
        """
        return self.kind in REWRITING or self.kind in CREATING


KINDS: Final = tuple(sorted(name for name, member in vars(Fault).items() if isinstance(member, staticmethod)))
"""The names of all faults."""


def parse_times(value: Any) -> int | None:
    """Return the number of requests that a fault applies to; None (all requests) if *value* is "always" or None.

    Raises:
        ConfigError: The value is not a positive integer, None or "always".
    """
    if value in (None, "always"):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f'`times` must be a positive integer, None or "always", got {value!r}',
            expected='a positive integer, or None ("always")',
        )
    return value


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _check(fault: str, name: str, value: Any, least: float, most: float | None = None) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
    if not right or (most is not None and value > most):
        bounds = f"a number from {least} to {most}" if most is not None else f"a number, at least {least}"
        raise ConfigError(f"`{name}` of the fault `{fault}` must be {bounds}, got {value!r}", expected=bounds)
