"""The routing table. Each route names the function that answers it, the place of the API key, and the error format."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.script import Script, Scripted
from llmcore_testing.simulator.synthesizers import TONE, Synthesizer
from llmcore_testing.simulator.wire import Answer, RecordedRequest

__all__ = ["Call", "Group", "Route", "Settings", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a simulator."""

    api_keys: Collection[str] | None = None
    reports_usage: bool = False
    """True if each stream ends with a chunk that reports the usage, even if the request did not ask for this chunk."""
    needs_key: bool = True
    """True if the simulator rejects requests without a key."""
    models: Sequence[str] | None = None
    latency_s: float = 0.0
    reply: Scripted | None = None
    synthesizer: Synthesizer = TONE
    holds_batches: bool = False
    """True if batches do not end before `Simulator.finish_batches` is called."""
    batch_window_s: float = 86_400.0
    """Seconds after which a batch expires."""
    batch_tokens: int | None = None
    """The maximum number of enqueued tokens in OpenAI's batches."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to add to every successful answer. Such a header replaces a header of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request and everything that an endpoint needs to answer it."""

    request: RecordedRequest
    settings: Settings
    script: Script
    control: Callable[[str], None]
    """Executes a command that another process sent: "hold", "release", "reset" or "finish_batches"."""
    fault: Fault | None = None
    """A fault that changes the content of the answer. Faults of the connection apply later, during sending."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The values of the {names} in the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The endpoints of one vendor."""

    name: str
    key: Callable[[RecordedRequest], str | None] | None
    """Reads the key of a request; None if these endpoints need no key."""
    refuse: Callable[..., Answer]
    """Makes an error response: `refuse(status, message=None, code=..., headers=...)`."""
    repeats_keys: bool = True
    """True if the error for a wrong key quotes the key, as OpenAI's does."""
    recorded: bool = True
    """True if the simulator records and counts the requests. Only recorded requests can be held or made to fail."""
    make_big: Callable[[Mapping[str, object], int], Answer] | None = None
    """Makes an answer with a text of the given size in bytes, from the request body. None means a chat completion.
    `Route.make_big` takes precedence."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint."""

    method: str
    path: str
    """For example "/v1/models/{model}". The last placeholder of a path also matches slashes."""
    answer: Callable[[Call], Answer]
    group: Group
    rewrites: frozenset[str] = frozenset()
    """The kinds of content faults that this route supports; see `Fault.rewriting`."""
    make_big: Callable[[Mapping[str, object], int], Answer] | None = None
    """Takes precedence over `Group.make_big`."""
    own: bool = False
    """True if a test added this route; see `custom_routes`. Only such a route may have the method "*"."""
    header: str | None = None
    """The route matches only requests with this header. The header distinguishes vendors that use the same path."""


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed: dict[str, list[Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if "{" in route.path:
                pattern = re.sub(r"\\\{(\w+)\\\}$", r"(?P<\1>.+)", re.escape(route.path))
                pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern)
                self._patterns.append((re.compile(pattern), route))
            else:
                self._fixed.setdefault(route.path, []).append(route)

    def find(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> Sequence[tuple[Route, Mapping[str, str]]]:
        """Return the routes that match *path*, each with the values of the path's placeholders.

        If several routes have the same method, the first one takes precedence.
        """
        borne = headers or {}
        if fixed := self._fixed.get(path):
            return [(route, {}) for route in fixed if route.header is None or route.header in borne]
        found = ((pattern.fullmatch(path), route) for pattern, route in self._patterns)
        return [(route, match.groupdict()) for match, route in found if match]
