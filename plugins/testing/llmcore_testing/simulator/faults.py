"""What can go wrong on request: every fault that the simulator plays, by name and with its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from llmcore.errors import ConfigError

_STREAM_ONLY: Final = frozenset({"error_chunk", "bad_json_chunk"})
_REWRITING: Final = frozenset({"usage", "missing_usage", "no_choices", "no_finish_reason", "wrong_schema"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. Make it with the methods below and give it to `Simulator.fail`.

    `after` counts the events of a stream, and the bytes of the body of a plain answer. A stream breaks at the
    latest before the event that bears its finish_reason, so that a broken answer never looks whole.
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
        """Answer with an HTTP status and an error in OpenAI's shape.

        Args:
            status: 200 to 599.
            retry_after: The header of that name: seconds, or any text, a date or rubbish too.
            code: Such as "insufficient_quota" or "context_length_exceeded"; None takes the usual one.
            message: None takes the usual one.
            body: Sent as JSON in place of the error, or as it is where it is a text.
            headers: Sent as well.
        """
        _check("status", "status", status, 200, 599)
        settings = {"status": status, "code": code, "message": message, "body": body}
        extra = dict(headers or {})
        if retry_after is not None:
            extra["retry-after"] = str(retry_after)
        return Fault("status", {**settings, "headers": extra})

    @staticmethod
    def hang() -> Fault:
        """Take the request and say nothing, until the client goes away or the simulator is reset or closed."""
        return Fault("hang")

    @staticmethod
    def slow(seconds: float = 0.0, *, bytes_per_second: float | None = None) -> Fault:
        """Answer rightly but late: *seconds* until the first byte, then no faster than *bytes_per_second*."""
        _check("slow", "seconds", seconds, 0)
        if bytes_per_second is not None:
            _check("slow", "bytes_per_second", bytes_per_second, 1)
        return Fault("slow", {"seconds": seconds, "bytes_per_second": bytes_per_second})

    @staticmethod
    def cut_stream(after: int = 3, *, clean: bool = True) -> Fault:
        """End a stream too early.

        Where *clean*, HTTP is in order and only the rest of the answer and `[DONE]` are missing; else, and always
        for a plain answer, the connection closes in the middle of the body.
        """
        _check("cut_stream", "after", after, 0)
        return Fault("cut_stream", {"after": after, "clean": clean})

    @staticmethod
    def reset(after: int | None = None) -> Fault:
        """Reset the connection (RST), before the head of the answer or *after* so much of the body."""
        if after is not None:
            _check("reset", "after", after, 0)
        return Fault("reset", {"after": after})

    @staticmethod
    def stall(after: int = 2) -> Fault:
        """Send the head and so much of the body, then nothing more, as `hang` does."""
        _check("stall", "after", after, 0)
        return Fault("stall", {"after": after})

    @staticmethod
    def error_chunk(
        after: int = 2, *, message: str = "The server had an error.", code: str | None = None
    ) -> Fault:
        """Send an error in the place of a stream's event, and end. Waits for the next streaming request."""
        _check("error_chunk", "after", after, 0)
        return Fault("error_chunk", {"after": after, "message": message, "code": code})

    @staticmethod
    def bad_json_chunk(after: int = 2) -> Fault:
        """Put an event that is no JSON into a stream, which goes on. Waits for the next streaming request."""
        _check("bad_json_chunk", "after", after, 0)
        return Fault("bad_json_chunk", {"after": after})

    @staticmethod
    def bad_json() -> Fault:
        """Answer 200 with JSON that breaks off."""
        return Fault("bad_json")

    @staticmethod
    def html(status: int = 200) -> Fault:
        """Answer with a page for people, as a proxy or a login wall does."""
        _check("html", "status", status, 200, 599)
        return Fault("html", {"status": status})

    @staticmethod
    def empty_body(status: int = 200) -> Fault:
        """Answer with no body."""
        _check("empty_body", "status", status, 200, 599)
        return Fault("empty_body", {"status": status})

    @staticmethod
    def big_body(megabytes: float = 64.0) -> Fault:
        """Answer a chat rightly, with a text of so many megabytes (10**6 bytes)."""
        _check("big_body", "megabytes", megabytes, 0)
        return Fault("big_body", {"megabytes": megabytes})

    @staticmethod
    def redirect(url: str, *, status: int = 307) -> Fault:
        """Send the client elsewhere."""
        _check("redirect", "status", status, 300, 399)
        return Fault("redirect", {"url": url, "status": status})

    @staticmethod
    def wrong_schema() -> Fault:
        """Answer 200 with JSON of another shape."""
        return Fault("wrong_schema")

    @staticmethod
    def no_choices() -> Fault:
        """Answer with an empty list of choices."""
        return Fault("no_choices")

    @staticmethod
    def no_finish_reason() -> Fault:
        """Answer with a finish_reason of null; of a stream nothing else is missing."""
        return Fault("no_finish_reason")

    @staticmethod
    def missing_usage() -> Fault:
        """Answer without a word on tokens."""
        return Fault("missing_usage")

    @staticmethod
    def negative_usage() -> Fault:
        """Answer with numbers of tokens below zero."""
        return Fault.usage(prompt_tokens=-1000, completion_tokens=-1000, total_tokens=-2000)

    @staticmethod
    def usage(**fields: Any) -> Fault:
        """Answer with these fields of `usage` in place of the right ones: any JSON, NaN included."""
        return Fault("usage", fields)

    @classmethod
    def named(cls, kind: str, *values: Any, **settings: Any) -> Fault:
        """Return the fault that is called *kind*.

        Raises:
            ConfigError: There is none of that name, or the settings do not fit it.
        """
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1, cutoff=0.6)
            raise ConfigError(
                f"no fault is called `{kind}`",
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
            raise ConfigError(f"the settings do not fit: {message}", expected=f"{kind}{wanted}") from None
        assert isinstance(made, Fault)
        return made

    @classmethod
    def parse(cls, text: str) -> tuple[Fault, int | None]:
        """Read "NAME:VALUE,NAME=VALUE,..." or a bare status; return the fault and how often it strikes.

        The setting `times` is a number or "always".

        Raises:
            ConfigError: See `named`.
        """
        kind, _, rest = text.strip().partition(":")
        values: list[Any] = []
        if kind.isdigit():
            kind, values = "status", [int(kind)]
        settings: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            if equals:
                settings[name.strip()] = _value(value)
            else:
                values.append(_value(name))
        return cls.named(kind, *values, **{k: v for k, v in settings.items() if k != "times"}), times_of(
            settings.get("times", 1)
        )

    @property
    def stream_only(self) -> bool:
        """Whether it can only befall a stream."""
        return self.kind in _STREAM_ONLY

    @property
    def rewriting(self) -> bool:
        """Whether it changes what is said, not how it is sent."""
        return self.kind in _REWRITING


KINDS: Final = tuple(sorted(name for name, member in vars(Fault).items() if isinstance(member, staticmethod)))
"""The names of all faults."""


def times_of(value: Any) -> int | None:
    """Return how often a fault strikes; None for "always" or None.

    Raises:
        ConfigError: It is neither that nor a number above 0.
    """
    if value in (None, "always"):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"`times` cannot be {value!r}", expected='a number above 0, or None ("always")')
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _check(fault: str, name: str, value: Any, least: float, most: float | None = None) -> None:
    right = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
    if not right or (most is not None and value > most):
        bounds = f"a number from {least} to {most}" if most is not None else f"a number, at least {least}"
        raise ConfigError(f"`{name}` of the fault `{fault}` cannot be {value!r}", expected=bounds)
