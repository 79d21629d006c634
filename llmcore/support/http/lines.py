"""Split a body into lines, for example JSON lines."""

from __future__ import annotations

__all__ = ["LineParser"]


class LineParser:
    """Split a body into lines. The chunks of bytes may end anywhere."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes. Return the complete non-empty lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """Return the last line if it has no line end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() else []
