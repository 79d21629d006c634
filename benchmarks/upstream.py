"""A server that answers every POST with the same chat completion: `python -m benchmarks.upstream [seconds]`.

It answers as fast as possible, or after a delay in seconds. A GET returns the number of POSTs. A request to stream is answered
with as many chunks as its text says (`Stream 300 words`), each sent alone. A request with the text `Hold, 7` is not answered. `GET
/begun` and `/closed` tell when numbered requests (`Stream 300 words, 7`) began, and lost their connection before the end.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from benchmarks.environments import ROOT

BODY = json.dumps(
    {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It rains on the roof of the hut, and no one hears it. " * 10,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 131,
            "total_tokens": 143,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
CHUNK = {"id": "chatcmpl-0123456789", "object": "chat.completion.chunk", "created": 1_790_000_000,
         "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_0123456789"}  # fmt: skip
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
STREAMED = re.compile(rb"Stream (\d+) words")
BETWEEN_CHUNKS_S = 0.0005
"""Longer than a client needs for a chunk, so that each arrives alone."""
NUMBERED = re.compile(rb"(?:Hold|Stream \d+ words), (\d+)")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


COUNT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"


class Answering(asyncio.Protocol):
    """One keep-alive connection. Requests must have a Content-Length."""

    delay = 0.0
    posts = 0
    begun: ClassVar[dict[int, float]] = {}
    closed: ClassVar[dict[int, float]] = {}
    number: int | None = None
    """Of the request in progress."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._held = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note a request that was not answered to its end."""
        del exc
        if self.number is not None:
            self.closed[self.number] = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._held, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._held) < whole:
                return
            asked, self._held = self._held[:whole], self._held[whole:]
            self._answer(asked)

    def _answer(self, asked: bytes) -> None:
        if asked.startswith(b"GET"):
            path = asked.split(b" ", 2)[1]
            found = {b"/v1/begun": self.begun, b"/v1/closed": self.closed}.get(path, Answering.posts)
            text = json.dumps(found).encode()
            self._transport.write(COUNT % (len(text), text))
            return
        Answering.posts += 1
        if numbered := NUMBERED.search(asked):
            self.number = int(numbered[1])
            self.begun[self.number] = time.monotonic()
            if numbered[0].startswith(b"Hold"):
                return
        if streamed := STREAMED.search(asked):
            self._transport.write(STREAM_HEAD)
            self._send_chunk(int(streamed[1]))
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._transport.write, ANSWER)
        else:
            self._transport.write(ANSWER)

    def _send_chunk(self, left: int) -> None:
        """Send one chunk, and plan the next one; end the stream if none is *left*."""
        if self._transport.is_closing():
            return
        if not left:
            self.number = None
            self._transport.write(_make_event({}, "stop") + b"data: [DONE]\n\n")
            self._transport.close()
            return
        self._transport.write(_make_event({"content": " rain"}, None))
        asyncio.get_running_loop().call_later(BETWEEN_CHUNKS_S, self._send_chunk, left - 1)


def _make_event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return b"data: %s\n\n" % json.dumps({**CHUNK, "choices": [choice]}).encode()


async def _serve(delay: float) -> None:
    Answering.delay = delay
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def serve(delay: float = 0.0) -> Iterator[str]:
    """Run the server in another process, with a *delay* in seconds for each answer; yield its base URL."""
    command = [sys.executable, "-m", "benchmarks.upstream", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]) if sys.argv[1:] else 0.0))
