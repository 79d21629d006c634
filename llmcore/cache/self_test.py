"""Try every operation of a cache backend on a test key, for `llmcore doctor` and `llmcore cache stats`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from llmcore.cache.breaker import is_unreachable
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_backend
from llmcore.calls.options import scrub
from llmcore.calls.steps import Act
from llmcore.errors import CacheError, LLMCoreError

__all__ = ["try_operations"]

_PREFIX: Final = "x:"
"""The prefix of test keys. No real entry has this prefix."""
_VALUE: Final = b"llmcore"
_TTL_S: Final = 10.0
"""The TTL of the test entry, so that the entry expires even if `delete` fails."""


def try_operations(backend: Backend, errors: list[LLMCoreError] | None = None) -> Act[dict[str, str]]:
    """Return the name of each operation that fails, with the reason. The errors are added to *errors*.

    The result is empty if all operations work. If an operation shows that the backend is unreachable, the remaining
    operations are not tried. Other entries are not touched.
    """
    key, holder = _PREFIX + secrets.token_hex(8), secrets.token_hex(8)
    calls: list[tuple[str, tuple[Any, ...], Any]] = [
        ("set", (key, _VALUE, _TTL_S), None),
        ("get", (key,), _VALUE),
        ("get_many", ([key],), {key: _VALUE}),
        ("delete", (key,), True),
        ("acquire", (key, holder, _TTL_S), True),
        ("release", (key, holder), None),
        ("unavailable", (), None),
    ]
    found: dict[str, str] = {}
    for name, args, expected in calls:
        ability = backend.require(name) if name in {"get", "set", "delete"} else backend.find_ability(name)
        if ability is None:
            continue
        try:
            answer = yield from call_backend(backend, ability(*args), CacheError)
        except LLMCoreError as error:
            found[name] = scrub(error.message, backend.options)
            if errors is not None:
                errors.append(error)
            if is_unreachable(error):
                return found
            continue
        if name == "unavailable" and isinstance(answer, Mapping):
            found |= answer
        elif "set" not in found and expected is not None and answer != expected:
            found[name] = f"returned {answer!r:.80}, expected {expected!r:.80}"
    return found
