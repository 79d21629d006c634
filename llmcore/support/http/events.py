"""Parse server-sent events from bytes. A line of JSON without `data:` is an event too.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import Final

__all__ = ["EventParser"]

_DONE: Final = b"[DONE]"
_LAST: Final = b"data: [DONE]"
_SHORT: Final = 16


class EventParser:
    """Split a body into events. The chunks of bytes may end anywhere."""

    __slots__ = ("_bare", "_data", "_name", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: bytes | None = None
        self._name = b""
        self._bare = False
        """True if the first line of `_data` had no `data:`. The next lines of the event may then lack `data:` too."""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Add the next bytes; return the name and payload of each complete event."""
        is_between_events = self._data is None and not self._rest and not self._name
        if (
            is_between_events
            and data.startswith(b"data:")
            and data.find(b"\n") == data.find(b"\n\n") == len(data) - 2
        ):
            return [(b"", data[5:].strip())]  # the usual case: one whole event
        if b"\n" not in data:
            self._rest += data
            if b"\r" not in data[:-1] and self._rest != _LAST:
                return []
            # Lines may end with a carriage return only, and `[DONE]` needs no end of line.
            data = bytes(self._rest).replace(b"\r", b"\n") + (b"\n" if self._rest == _LAST else b"")
            self._rest.clear()
        elif self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        return self._read_lines(data.split(b"\n"))

    def _read_lines(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Parse lines; the last line may be incomplete."""
        rest = lines.pop()
        if rest == _LAST:
            lines.append(rest)
        elif rest:
            self._rest += rest
        events: list[tuple[bytes, bytes]] = []
        for line in lines:
            if line.startswith(b"data:"):
                if self._bare:
                    self._dispatch(events)
                self._data = line[5:] if self._data is None else self._data + b"\n" + line[5:]
                if len(line) < _SHORT and self._data.strip() == _DONE:  # do not wait for the empty line
                    self._dispatch(events)
            elif line in {b"", b"\r"}:
                if self._data is not None:
                    events.append((self._name, self._data.strip()))
                    self._name, self._data, self._bare = b"", None, False
            else:
                self._read_other(line, events)
        return events

    def end(self) -> list[tuple[bytes, bytes]]:
        """Return the events that the end of the body completes."""
        return self.feed(b"\n\n") if self._rest or self._data is not None else []

    def _read_other(self, line: bytes, events: list[tuple[bytes, bytes]]) -> None:
        """Parse a line without `data:`: an event name, or JSON on one or more lines."""
        if line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif line.startswith((b"{", b"error:")):
            if self._data is not None:
                self._dispatch(events)
            if not line.startswith(b"{"):
                self._name, line = b"error", line[6:]
            self._data, self._bare = line, True
        elif self._bare and self._data is not None and line[:1] != b":":
            self._data += b"\n" + line

    def _dispatch(self, events: list[tuple[bytes, bytes]]) -> None:
        if self._data is not None:
            events.append((self._name, self._data.strip()))
        self._name, self._data, self._bare = b"", None, False
