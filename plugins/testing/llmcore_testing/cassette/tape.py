"""The file of a cassette: recorded calls as JSON, found again by their requests."""

from __future__ import annotations

import base64
import difflib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from llmcore.atomic_write import write_atomically
from llmcore.errors import BadRequest, ConfigError
from llmcore.support.errors import raise_unchained

__all__ = ["Tape", "begin_recording"]

_FORMAT: Final = 1
_LINES: Final = 40
"""The maximum number of lines with which an error shows the difference between two requests."""


class _File:
    """The calls in one file.

    All cassettes of the process that write this file share one `_File`, because each write replaces the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[dict[str, Any]] = []
        self.local: list[dict[str, Any]] = []
        """The calls that needed no server."""
        self.is_recorded = False
        """True if a cassette of this process has begun to record the file."""
        self.is_whole = True
        """True if the file on disk contains every call of `local`."""
        self.lock = threading.Lock()

    def load(self) -> None:
        """Read the file.

        Raises:
            ConfigError: The file does not exist, or is not a cassette.
        """
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            version, calls = document["cassette"], list(document["calls"])
            local = list(document.get("local", ()))
        except FileNotFoundError:
            raise_unchained(self._make_error("does not exist"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise_unchained(self._make_error(f"is not a cassette: {type(error).__name__}: {error}"))
        if version != _FORMAT:
            raise self._make_error(
                f"has the format {version!r}, and this version of llmcore-testing reads {_FORMAT}"
            )
        self.calls, self.local = calls, local

    def add(self, call: dict[str, Any]) -> None:
        """Add *call*, and write the file."""
        with self.lock:
            self.calls.append(call)
            self._write()

    def add_local(self, call: dict[str, Any]) -> None:
        """Add a *call* that needed no server. The next `add` or `flush` writes it."""
        with self.lock:
            self.local.append(call)
            self.is_whole = False

    def flush(self) -> None:
        """Write the file if it lacks a call that was added."""
        with self.lock:
            if not self.is_whole:
                self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        local = {"local": self.local} if self.local else {}
        write_atomically(
            self.path, [f"{_render({'cassette': _FORMAT, 'calls': self.calls, **local})}\n".encode()]
        )
        self.is_whole = True

    def _make_error(self, fault: str) -> ConfigError:
        return ConfigError(
            f"the cassette {self.path} {fault}",
            where="[llm.cassette] path",
            expected="a file that was recorded",
            fix="pytest --llmcore-record",
        )


_files: Final[dict[Path, _File]] = {}
"""Resolved path -> the file, for each file that cassettes of this process write."""
_lock: Final = threading.Lock()


def begin_recording(path: Path) -> None:
    """Make the next cassette that records in *path* begin a new file."""
    with _lock:
        _files.pop(path.resolve(), None)


def _open(path: Path, mode: str) -> _File:
    if mode == "replay":
        file = _File(path)
        file.load()
        return file
    with _lock:
        file = _files.setdefault(path.resolve(), _File(path))
        with file.lock:
            if mode == "auto":
                if path.exists():
                    file.load()
                else:
                    file.calls, file.local = [], []
            elif not file.is_recorded:
                file.is_recorded, file.calls, file.local = True, [], []
        return file


class Tape:
    """The calls of one *kind* that were recorded in the file *path*.

    Args:
        path: The file.
        kind: "llm" or "voice".
        mode: "replay", "record" or "auto". In each process, the first tape that records begins a new file, and later
            tapes add to that file.
        clean: Returns a JSON value without secrets. Requests are cleaned before they are written and before they are compared.

    Raises:
        ConfigError: The file is not a cassette, or the file to replay does not exist.
    """

    def __init__(self, path: Path, kind: str, mode: str, clean: Callable[[Any], Any]) -> None:
        self._file = _open(path, mode)
        self._kind = kind
        self._clean = clean
        self._played: Counter[str] = Counter()
        self._found: list[dict[str, Any]] = []
        self._by_key: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def has(self, method: str) -> bool:
        """Return whether a call of *method* was recorded."""
        return any(call["method"] == method for call in self._list_calls())

    def find(self, method: str, request: Any) -> dict[str, Any] | None:
        """Return the next recorded call with this request, or None.

        If the same request was recorded several times, return its calls in order, then the last one again and again.
        """
        key = _render_key(method, self._clean(request))
        with self._lock:
            fitting = self._index().get(key, ())
            if not fitting:
                return None
            played = self._played[key]
            self._played[key] += 1
            return fitting[min(played, len(fitting) - 1)]

    def add(self, method: str, request: Any, **outcome: Any) -> None:
        """Remove the secrets from a call, add the call, and write the file."""
        call = self._make_call(method, request, outcome)
        with self._lock:
            self._played[_render_key(method, call["request"])] += 1
        self._file.add(call)

    def add_local(self, method: str, request: Any, **outcome: Any) -> None:
        """Add a call that needed no server, unless an equal call was recorded before.

        The next `add` or `flush` writes it.
        """
        call = self._make_call(method, request, outcome)
        with self._lock:
            if call not in self._index().get(_render_key(method, call["request"]), ()):
                self._file.add_local(call)

    def flush(self) -> None:
        """Write the calls that are not in the file yet."""
        self._file.flush()

    def list_requests(self, *methods: str) -> list[Any]:
        """Return the recorded requests of *methods*."""
        return [call["request"] for call in self._list_calls() if call["method"] in methods]

    def _make_call(self, method: str, request: Any, outcome: dict[str, Any]) -> dict[str, Any]:
        call: dict[str, Any] = json.loads(
            _render(self._clean({"kind": self._kind, "method": method, "request": request, **outcome}))
        )
        return call

    def make_mismatch(self, method: str, request: Any) -> BadRequest:
        """Return the error for a request that was not recorded.

        The error shows the difference from the most similar recorded request.
        """
        wanted = _render(self._clean(request))
        recorded = [_render(call["request"]) for call in self._list_calls() if call["method"] == method]
        nearest = max(
            recorded, key=lambda text: difflib.SequenceMatcher(None, text, wanted).quick_ratio(), default=""
        )
        return BadRequest(
            f"no recorded call of `{method}` has this request",
            where=str(self._file.path),
            sent=False,
            expected=f"one of its {len(recorded)} recorded requests; the difference from the most similar one:",
            notes=tuple(_compare(nearest, wanted)),
            fix="pytest --llmcore-record",
        )

    def _index(self) -> Mapping[str, list[dict[str, Any]]]:
        """Return the recorded calls by method and request."""
        calls = self._list_calls()
        if self._found[: len(calls)] != calls[: len(self._found)]:
            self._found, self._by_key = [], {}
        for call in calls[len(self._found) :]:
            self._by_key.setdefault(_render_key(call["method"], call["request"]), []).append(call)
        self._found = calls
        return self._by_key

    def _list_calls(self) -> list[dict[str, Any]]:
        with self._file.lock:
            calls = [*self._file.local, *self._file.calls]
        return [call for call in calls if call.get("kind", self._kind) == self._kind]


def _render_key(method: str, request: Any) -> str:
    return _render({"method": method, "request": request})


def _render(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=_encode_bytes)


def _encode_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _compare(recorded: str, wanted: str) -> Iterator[str]:
    lines = difflib.unified_diff(
        recorded.splitlines(), wanted.splitlines(), "recorded", "requested", n=2, lineterm=""
    )
    for number, line in enumerate(lines):
        if number == _LINES:
            yield "..."
            return
        yield line
