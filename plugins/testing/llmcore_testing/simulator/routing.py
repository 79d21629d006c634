"""The table of endpoints: which path is answered by what, with whose key, and in whose shape of error."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.mouths import TONE, Mouth
from llmcore_testing.simulator.script import Script, Scripted
from llmcore_testing.simulator.wire import Answer, RecordedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a simulator was started."""

    api_keys: Collection[str] | None = None
    models: Sequence[str] | None = None
    latency_s: float = 0.0
    reply: Scripted | None = None
    mouth: Mouth = TONE
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every right answer, in the place of its own of these names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an endpoint has at hand to answer one request."""

    request: RecordedRequest
    settings: Settings
    script: Script
    control: Callable[[str], None]
    """Does to the simulator what another process asks: "hold", "release" or "reset"."""
    fault: Fault | None = None
    """One of those that change what is said; the others are played later."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What stood in the path in place of its {names}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The endpoints of one vendor."""

    name: str
    key: Callable[[RecordedRequest], str | None] | None
    """Reads the key that came with a request; None where these endpoints want none."""
    refuse: Callable[..., Answer]
    """Makes an error: `refuse(status, message=None, code=..., headers=...)`."""
    repeats_keys: bool = True
    """Whether it says of a key that it refuses which one, as OpenAI does."""
    recorded: bool = True
    """Whether requests are recorded, counted, held and may fail."""
    make_big: Callable[[Mapping[str, object], int], Answer] | None = None
    """Makes an answer with a text of so many bytes, from the body of the request; None for a chat completion."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint."""

    method: str
    path: str
    """Such as "/v1/models/{model}"; the last name of a path takes slashes too."""
    answer: Callable[[Call], Answer]
    group: Group
    chat: bool = False
    """Whether it answers a chat, so that the faults of answers can befall it."""
    header: str | None = None
    """Only requests that bear it: it tells apart vendors that share an address."""


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
        """Return the routes of *path*, the first of a method before others, with the names that its pattern took."""
        borne = headers or {}
        if fixed := self._fixed.get(path):
            return [(route, {}) for route in fixed if route.header is None or route.header in borne]
        found = ((pattern.fullmatch(path), route) for pattern, route in self._patterns)
        return [(route, match.groupdict()) for match, route in found if match]
