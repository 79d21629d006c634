"""A streamed answer put together, and a whole one taken apart."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from llmcore.types import Delta, Reply, ToolCall, Usage

__all__ = ["Assembly", "as_deltas"]


class Assembly:
    """Collects the pieces of one answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self._last = Delta()
        self._usage: Usage | None = None
        self._model = ""

    @property
    def text(self) -> str:
        """What has arrived."""
        return "".join(self._texts)

    @property
    def finished(self) -> bool:
        """Whether a piece bore the `finish_reason`."""
        return self._last.finish_reason is not None

    def add(self, delta: Delta) -> None:
        """Take the next piece."""
        if delta.text:
            self._texts.append(delta.text)
        for piece in delta.tool_calls:
            self._calls[piece.index] = _joined(self._calls.get(piece.index), piece)
        if delta.finish_reason is not None:
            self._last = delta
        if delta.usage is not None:
            self._usage = delta.usage
        self._model = delta.model or self._model

    def reply(self) -> Reply:
        """Return the whole answer."""
        last = self._last
        return Reply(
            text=self.text,
            model=self._model,
            finish_reason=last.finish_reason,
            usage=self._usage or Usage(estimated=True),
            tool_calls=tuple(self._calls[index] for index in sorted(self._calls)),
            service_tier=last.service_tier,
            request_id=last.request_id,
            body=last.body,
            limits=last.limits,
        )


def as_deltas(reply: Reply) -> Iterator[Delta]:
    """Yield a whole answer as a stream does: the text, then the end."""
    if reply.text:
        yield Delta(text=reply.text, model=reply.model)
    yield Delta(
        tool_calls=reply.tool_calls,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        model=reply.model,
        service_tier=reply.service_tier,
        request_id=reply.request_id,
        body=reply.body,
        limits=reply.limits,
    )


def _joined(before: ToolCall | None, piece: ToolCall) -> ToolCall:
    if before is None:
        return piece
    return msgspec.structs.replace(
        before,
        name=before.name or piece.name,
        id=before.id or piece.id,
        arguments=before.arguments + piece.arguments,
    )
