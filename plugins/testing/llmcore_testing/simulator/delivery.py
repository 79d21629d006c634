"""Send an answer to the client, and inject a fault of the connection if one is planned."""

from __future__ import annotations

import asyncio  # noqa: TID253 - `import llmcore` does not load this module
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from llmcore_testing.simulator.chunks import format_event
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.script import Script
from llmcore_testing.simulator.wire import (
    Answer,
    FramedAnswer,
    RecordedRequest,
    encode,
    frame_answer,
    frame_chunk,
)

__all__ = ["Exchange", "Sender", "deliver", "deliver_now"]

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_TICK_S: Final = 0.05


class Sender:
    """The sending side of one connection, with flow control."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._drained: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """True if the write buffer is full because the client reads slowly."""
        return self._drained is not None

    def pause(self) -> None:
        """Make writers wait until `resume`."""
        self._drained = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Wake waiting writers."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    async def send(self, data: bytes) -> None:
        """Write *data*. Wait while the write buffer is full.

        Raises:
            ConnectionError: The client has disconnected.
        """
        self.check()
        self.transport.write(data)
        if self._drained is not None:
            await self._drained

    def check(self) -> None:
        """Raise ConnectionError if the client has disconnected."""
        if self.transport.is_closing():
            raise ConnectionResetError("the client has disconnected")

    def reset(self) -> None:
        """End the connection with RST."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


class Exchange:
    """One request from arrival to end. The script counts an answer before the client sees the end of the answer."""

    def __init__(self, script: Script, answer: Answer, epoch: int | None) -> None:
        self._script = script
        self._epoch = epoch
        self._answer = answer

    def record_answer(self, *, whole: bool = True) -> None:
        """Count the answer by status. If *whole*, also increase the count that `Answer.counted` names."""
        status = f"status_{self._answer.status}"
        done = (self._answer.counted,) if whole and self._answer.counted else ()
        self._record(status, *done)

    def record_disconnect(self) -> None:
        """Count a disconnected client, unless the answer is counted already."""
        self._record("gone")

    def _record(self, *counted: str) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            self._script.record_end(epoch, *counted)


def deliver_now(sender: Sender, request: RecordedRequest, answer: Answer, exchange: Exchange) -> None:
    """Write the whole answer without waiting: a plain answer in one write, a stream in one write per event."""
    out = frame_answer(answer, request)
    if not answer.streamed:
        exchange.record_answer()
        sender.transport.write(out.head + b"".join(out.frames))
    else:
        held = out.head
        for data in out.frames:
            # Each event is kept until the next event exists. So the head and the first event are one write,
            # and the answer is counted before its last event is written.
            if held is not out.head:
                if sender.transport.is_closing():
                    exchange.record_disconnect()
                    return
                sender.transport.write(held)
                held = data
            else:
                held += data
        exchange.record_answer()
        sender.transport.write(held + out.tail)
    if not out.keep_alive:
        sender.transport.close()


async def deliver(
    sender: Sender, request: RecordedRequest, answer: Answer, exchange: Exchange, fault: Fault | None
) -> None:
    """Send the answer, with *fault* if it is not None."""
    out = frame_answer(answer, request)
    match fault.kind if fault else "":
        case "hang":
            await _wait_forever()
        case "trickle" if fault is not None:
            await _trickle(sender, request, answer, fault.settings["after"])
        case "reset" | "stall" | "cut_stream" if fault is not None:
            await _break_off(sender, answer, out, exchange, fault)
        case "slow" if fault is not None:
            await asyncio.sleep(fault.settings["seconds"])
            await _send_all(sender, out, exchange, bytes_per_second=fault.settings["bytes_per_second"])
        case "error_chunk" | "bad_json_chunk" if fault is not None and answer.streamed:
            await _send_with_bad_event(sender, answer, out, exchange, fault)
        case _:
            await _send_all(sender, out, exchange)


async def _send_all(
    sender: Sender,
    out: FramedAnswer,
    exchange: Exchange,
    *,
    bytes_per_second: float | None = None,
    whole: bool = True,
) -> None:
    await sender.send(out.head)
    held = b""
    for data in out.frames:
        for piece in _split_slowly(held, bytes_per_second):
            await sender.send(piece)
            if bytes_per_second is not None:
                await asyncio.sleep(len(piece) / bytes_per_second)
        held = data
    drips = list(_split_slowly(held + out.tail, bytes_per_second)) or [b""]
    for piece in drips[:-1]:
        await sender.send(piece)
        await asyncio.sleep(len(piece) / (bytes_per_second or 1))
    sender.check()
    exchange.record_answer(whole=whole)
    await sender.send(drips[-1])
    if not out.keep_alive:
        sender.transport.close()


async def _trickle(sender: Sender, request: RecordedRequest, answer: Answer, after: int) -> None:
    pieces = _cut_frames(answer, answer.pieces, after) if after else []
    out = frame_answer(replace(answer, pieces=pieces, streamed=True), request)
    await sender.send(out.head)
    for data in out.frames:
        await sender.send(data)
    while True:
        await sender.send(frame_chunk(b" ") if request.chunked_answers else b" ")
        await asyncio.sleep(_TICK_S)


def _split_slowly(data: bytes, bytes_per_second: float | None) -> Iterator[bytes]:
    size = len(data) if bytes_per_second is None else max(1, int(bytes_per_second * _TICK_S))
    for start in range(0, len(data), size or 1):
        yield data[start : start + size]


async def _break_off(
    sender: Sender, answer: Answer, out: FramedAnswer, exchange: Exchange, fault: Fault
) -> None:
    after = fault.settings["after"]
    if after is not None:
        await sender.send(out.head)
        for data in _cut_frames(answer, out.frames, after):
            await sender.send(data)
    if fault.kind == "stall":
        await _wait_forever()
    exchange.record_answer(whole=False)
    if fault.kind == "reset":
        sender.reset()
    elif answer.streamed and fault.settings["clean"]:
        await sender.send(out.tail)
        if not out.keep_alive:
            sender.transport.close()
    else:
        sender.transport.close()


async def _send_with_bad_event(
    sender: Sender, answer: Answer, out: FramedAnswer, exchange: Exchange, fault: Fault
) -> None:
    frames = list(out.frames)
    at = len(_cut_frames(answer, frames, fault.settings["after"]))
    if fault.kind == "error_chunk":
        message, code = fault.settings["message"], fault.settings["code"]
        if answer.error_event is not None:
            bad = answer.error_event(message, code)
        else:
            error = {"message": message, "type": "server_error", "param": None, "code": code}
            bad = format_event(encode({"error": error}))
        rest = []
    else:
        broken = b'{"id": "chatcmpl-broken", "object": "chat.completion.chunk", "choi'
        bad = broken + b"\n" if "ndjson" in answer.content_type else format_event(broken)
        rest = frames[at:]
    frame = frame_chunk(bad) if out.tail else bad
    await _send_all(
        sender,
        FramedAnswer(out.head, [*frames[:at], frame, *rest], out.tail, out.keep_alive),
        exchange,
        whole=False,
    )


def _cut_frames(answer: Answer, frames: Iterable[bytes], after: int) -> list[bytes]:
    if answer.streamed:
        pieces = list(frames)
        most = answer.cut_before if answer.cut_before is not None else max(0, len(pieces) - 1)
        return pieces[: min(after, most)]
    body = b"".join(frames)
    return [body[: min(after, max(0, len(body) - 1))]]


async def _wait_forever() -> None:
    await asyncio.get_running_loop().create_future()
