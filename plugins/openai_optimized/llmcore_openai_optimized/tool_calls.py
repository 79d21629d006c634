"""Assemble tool calls from the pieces of a stream, or from a complete message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.types import ToolCall
from llmcore_openai_optimized.fields import SurrogateBuffer, merge, read_index, read_text

__all__ = ["LEGACY", "ToolCalls"]

LEGACY: Final = -1
"""The index for pieces of the deprecated `function_call`."""

_READ: Final = frozenset({"id", "index", "type", "function", "custom", "name", "arguments", "input"})
_encode = msgspec.json.Encoder().encode


class _Call:
    """One call, as received so far."""

    __slots__ = ("arguments", "emitted", "extra", "id", "inner", "key", "kind", "name", "ours", "size")

    def __init__(self, key: int | None, ours: int, kind: str) -> None:
        self.key = key
        self.ours = ours
        self.kind = kind
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0
        self.emitted = False
        self.extra: dict[str, Any] = {}
        self.inner: dict[str, Any] = {}

    def make_call(self) -> ToolCall:
        return ToolCall(
            name=self.name, arguments=self.join_text(), id=self.id, type=self.kind, index=max(self.ours, 0)
        )

    def join_text(self) -> str:
        if len(self.arguments) > 1:
            self.arguments = ["".join(self.arguments)]
        return self.arguments[0] if self.arguments else ""

    def append(self, arguments: str) -> str:
        """Append *arguments* and return them. If a gateway repeats the complete arguments, return an empty text."""
        repeats = self.size and arguments[-1:] == "}" and arguments == self.join_text() and self.is_complete()
        if not arguments or repeats:
            return ""
        self.arguments.append(arguments)
        self.size += len(arguments)
        return arguments

    def is_complete(self) -> bool:
        """Return whether the arguments are a complete JSON object."""
        if not self.size or self.arguments[-1].rstrip()[-1:] not in {"}", ""}:
            return False
        try:
            return isinstance(msgspec.json.decode(self.join_text()), dict)
        except ValueError:  # msgspec's and Unicode's errors are ValueErrors
            return False


class ToolCalls:
    """The calls of one choice.

    Servers mark a new call in different ways: by a new index, by a new id under a known index, or, without an index, by an
    id or a name.
    """

    __slots__ = ("_by_key", "calls")

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self._by_key: dict[int, _Call] = {}

    def add(
        self, piece: Mapping[str, Any], *, complete: bool = False, surrogates: SurrogateBuffer | None = None
    ) -> list[ToolCall]:
        """Add a piece; return the pieces to emit. The list is empty while the name may be incomplete.

        Args:
            piece: An item of `tool_calls`.
            complete: True if the piece is a whole call from a complete message.
            surrogates: The buffer for split surrogate pairs; None if the texts contain none.
        """
        inner = piece.get("function") or piece.get("custom") or piece
        inner = inner if isinstance(inner, Mapping) else {}
        name = read_text(inner.get("name"))
        arguments = _read_arguments(inner)
        call_id = read_text(piece.get("id"))
        key = read_index(piece.get("index"))
        emit: list[ToolCall] = []
        call = None if complete else self._find(key, call_id, name, arguments)
        if call is None:
            emit += self.flush(surrogates)
            call = self._begin(None if complete and key != LEGACY else key, piece)
        late_id = call_id if call.emitted and not call.id else ""
        call.id = call.id or call_id
        _add_extra(call, piece, inner)
        if name and not call.size:
            call.name = _join_name(call.name, name)
        if surrogates is not None:
            arguments = surrogates.take(call, arguments)
        arguments = call.append(arguments)
        if not call.emitted and call.size:
            call.emitted = True
            emit.append(call.make_call())
        elif call.emitted and (arguments or late_id):
            emit.append(ToolCall(name="", arguments=arguments, id=late_id, type=call.kind, index=call.ours))
        return emit

    def flush(self, surrogates: SurrogateBuffer | None = None) -> Iterator[ToolCall]:
        """Yield the pieces that were delayed until the end."""
        for call in self.calls:
            rest = surrogates.end(call) if surrogates is not None else ""
            if rest:
                call.arguments.append(rest)
            if not call.emitted:
                call.emitted = True
                yield call.make_call()
            elif rest:
                yield ToolCall(name="", arguments=rest, type=call.kind, index=call.ours)

    def __bool__(self) -> bool:
        return bool(self.calls)

    def list_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls, ordered by index."""
        return tuple(call.make_call() for call in self._sort_calls())

    def make_document(self) -> list[dict[str, Any]]:
        """Return `tool_calls` in the format of a complete message, without the deprecated `function_call`."""
        made = []
        for call in self._sort_calls():
            if call.key == LEGACY:
                continue
            custom = call.kind == "custom"
            inner = {"name": call.name, "input" if custom else "arguments": call.join_text(), **call.inner}
            where = "custom" if custom else "function"
            made.append({"id": call.id, "type": call.kind, where: inner, **call.extra})
        return made

    def _sort_calls(self) -> list[_Call]:
        return sorted(self.calls, key=lambda call: call.ours)

    def _find(self, key: int | None, call_id: str, name: str, arguments: str) -> _Call | None:
        """Return the call that a piece continues; None if the piece begins a new call."""
        if key is None:
            return self._find_without_index(call_id, name)
        known = self._by_key.get(key)
        if known is None:
            return None
        if not call_id:
            return None if _is_new_call(known, name, arguments) else known
        if known.id and call_id != known.id:
            return next((call for call in self.calls if call.key == key and call.id == call_id), None)
        return known if known.id or not known.is_complete() else None

    def _find_without_index(self, call_id: str, name: str) -> _Call | None:
        last = self.calls[-1] if self.calls else None
        if call_id:
            return next((call for call in self.calls if call.id == call_id), None)
        if last is None or not name:
            return last
        # Some servers repeat the name with each piece of the arguments.
        repeats = name == last.name and last.size and not last.is_complete()
        return last if repeats else None

    def _begin(self, key: int | None, piece: Mapping[str, Any]) -> _Call:
        taken = {call.ours for call in self.calls}
        ours = key if key is not None and key >= 0 and key not in taken else max(taken, default=-1) + 1
        kind = read_text(piece.get("type")) or ("custom" if "custom" in piece else "function")
        call = _Call(key, ours, kind)
        self.calls.append(call)
        if key is not None:
            self._by_key[key] = call
        return call


def _is_new_call(known: _Call, name: str, arguments: str) -> bool:
    """Return whether a piece with a name and a known index, but without an id, begins a new call."""
    if not name or not known.size:
        return False
    return name != known.name or (bool(arguments.strip()) and known.is_complete())


def _read_arguments(inner: Mapping[str, Any]) -> str:
    """Return the arguments as text (some servers send an object), or the input of a custom tool."""
    value = inner.get("arguments")
    value = inner.get("input") if value is None else value
    return value if isinstance(value, str) else "" if value is None else _encode(value).decode()


def _join_name(known: str, piece: str) -> str:
    """Return *known* with *piece*, which may be the next part of the name or the whole name so far."""
    return piece if known and piece.startswith(known) else known + piece


def _add_extra(call: _Call, piece: Mapping[str, Any], inner: Mapping[str, Any]) -> None:
    """Keep unknown fields, such as the thought signature that Gemini requires in the next request."""
    if not piece.keys() <= _READ:
        merge(call.extra, {name: value for name, value in piece.items() if name not in _READ})
    if inner is not piece and not inner.keys() <= _READ:
        merge(call.inner, {name: value for name, value in inner.items() if name not in _READ})
