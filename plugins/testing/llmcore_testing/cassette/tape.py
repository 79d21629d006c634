"""The file of a cassette: recorded calls as JSON, found again by their requests."""

from __future__ import annotations

import base64
import difflib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from llmcore.atomic_write import write_atomically
from llmcore.errors import BadRequest, ConfigError
from llmcore.support.errors import raise_unchained

__all__ = ["Tape"]

_FORMAT: Final = 1
_LINES: Final = 40
"""How many lines of a difference an error shows."""


class Tape:
    """The calls that were recorded in the file *path*.

    Args:
        path: The file.
        clean: Returns a JSON value without secrets. Requests are cleaned before they are written and before they are compared.
    """

    def __init__(self, path: Path, clean: Callable[[Any], Any]) -> None:
        self.path = path
        self._clean = clean
        self._calls: list[dict[str, Any]] = []
        self._played: Counter[str] = Counter()
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the file.

        Raises:
            ConfigError: It does not exist, or is not a cassette.
        """
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            version, calls = document["cassette"], list(document["calls"])
        except FileNotFoundError:
            raise_unchained(self._make_error("does not exist"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise_unchained(self._make_error(f"is not a cassette: {type(error).__name__}: {error}"))
        if version != _FORMAT:
            raise self._make_error(
                f"has the format {version!r}, and this version of llmcore-testing reads {_FORMAT}"
            )
        self._calls = calls

    def has(self, method: str) -> bool:
        """Return whether a call of *method* was recorded."""
        return any(call["method"] == method for call in self._calls)

    def find(self, method: str, request: Any) -> dict[str, Any] | None:
        """Return the next recorded call with this request: equal requests get their answers in turn, and then the last one."""
        key = _render({"method": method, "request": self._clean(request)})
        with self._lock:
            fitting = [
                call
                for call in self._calls
                if _render({"method": call["method"], "request": call["request"]}) == key
            ]
            if not fitting:
                return None
            played = self._played[key]
            self._played[key] += 1
            return fitting[min(played, len(fitting) - 1)]

    def add(self, method: str, request: Any, **outcome: Any) -> None:
        """Write one more call, without secrets."""
        call = json.loads(_render(self._clean({"method": method, "request": request, **outcome})))
        with self._lock:
            self._calls.append(call)
            self._played[_render({"method": method, "request": call["request"]})] += 1
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(
                self.path, [f"{_render({'cassette': _FORMAT, 'calls': self._calls})}\n".encode()]
            )

    def make_mismatch(self, method: str, request: Any) -> BadRequest:
        """Return the error for a request that was not recorded, with its difference from the nearest one."""
        wanted = _render(self._clean(request))
        recorded = [_render(call["request"]) for call in self._calls if call["method"] == method]
        nearest = max(
            recorded, key=lambda text: difflib.SequenceMatcher(None, text, wanted).quick_ratio(), default=""
        )
        return BadRequest(
            f"no recorded call of `{method}` has this request",
            where=str(self.path),
            sent=False,
            expected=f"one of its {len(recorded)} recorded requests; the difference from the nearest one:",
            notes=tuple(_diff(nearest, wanted)),
            fix="pytest --llmcore-record",
        )

    def _make_error(self, fault: str) -> ConfigError:
        return ConfigError(
            f"the cassette {self.path} {fault}",
            where="[llm.cassette] path",
            expected="a file that was recorded",
            fix="pytest --llmcore-record",
        )


def _render(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=_encode_bytes)


def _encode_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _diff(recorded: str, wanted: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        recorded.splitlines(), wanted.splitlines(), "recorded", "requested", n=2, lineterm=""
    )
    for number, line in enumerate(lines):
        if number == _LINES:
            yield "..."
            return
        yield line
