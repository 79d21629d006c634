"""The worker process: handles requests from stdin and ends when stdin ends. Only the standard library is imported.

A crash of the C library ends only this process. The main thread speaks, since it has the largest stack. Another thread reads
stdin, and detects the end of the parent while the library works or hangs.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import Final

from llmcore_voice_espeak.frames import (
    AUDIO,
    DONE,
    FAILED,
    FRAME_HEAD,
    LIST,
    REQUEST_HEAD,
    VOICES,
    WORD,
    WORDS,
)  # fmt: skip
from llmcore_voice_espeak.library import LibraryError, load

__all__ = ["main"]

_FRAME: Final = 8_192
"""The bytes of audio that are collected before a frame is made, about 0.2 s."""
_BATCH: Final = 4 * _FRAME
"""The minimum bytes of a write, except for the first frame of a reply, which is written at once.

Each write wakes the parent, so a batch has several frames.
"""
_WORDS_BATCH: Final = 1_000
_LOST_S: Final = 300.0
"""Seconds without a request after which a worker ends; its parent ends idle workers much earlier."""


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _leave_no_core_dump()
    out = os.dup(1)
    os.dup2(2, 1)  # output of C code must not mix with the frames
    requests: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    reply = _Reply(out)
    while True:
        try:
            request = requests.get(timeout=_LOST_S)
        except queue.Empty:
            os._exit(0)
        try:
            _answer(request, reply)
        except LibraryError as error:
            reply.end(FAILED, str(error).encode(errors="replace"))
        except OSError:  # the parent no longer reads
            os._exit(0)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            reply.end(FAILED, f"failed: {type(error).__name__}: {error}".encode(errors="replace"))


def _leave_no_core_dump() -> None:
    """Disable core dumps, because a dump would contain the text, which may be confidential."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _read(requests: queue.SimpleQueue[list[bytes]]) -> None:
    try:
        with open(0, "rb", buffering=65_536, closefd=False) as stdin:
            while len(head := stdin.read(REQUEST_HEAD.size)) == REQUEST_HEAD.size:
                (size,) = REQUEST_HEAD.unpack(head)
                requests.put(stdin.read(size).split(b"\0"))
    finally:
        os._exit(0)


def _answer(request: list[bytes], reply: _Reply) -> None:
    kind, path, data, *rest = request
    with load(os.fsdecode(path), data) as library:
        if kind == LIST:
            for file, name, gender, languages in library.list_voices():
                reply.add(VOICES, b"\0".join((file, name, str(gender).encode(), *languages)))
        else:
            voice, words_per_minute, pitch, ssml, text = rest
            library.speak(text, voice, int(words_per_minute), int(pitch), ssml=ssml == b"1", take=reply.take)
    reply.end(DONE, b"")


class _Reply:
    """Writes the frames of one reply to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._audio = bytearray()
        self._words = bytearray()
        self._frames = bytearray()
        self._begun = False

    def take(self, samples: bytes, words: list[tuple[int, int]]) -> None:
        """Add audio, and the words that begin in it."""
        self._audio += samples
        for word in words:
            self._words += WORD.pack(*word)
        if len(self._audio) >= _FRAME:
            self._add(AUDIO, self._audio)
        if len(self._words) >= _WORDS_BATCH * WORD.size:
            self._add(WORDS, self._words)

    def add(self, kind: bytes, payload: bytes) -> None:
        """Add a frame to the buffer."""
        self._frames += FRAME_HEAD.pack(kind, len(payload)) + payload
        if len(self._frames) >= _BATCH or not self._begun:
            self._write()

    def end(self, kind: bytes, payload: bytes) -> None:
        """Write the buffer and a last frame."""
        self._add(AUDIO, self._audio)
        self._add(WORDS, self._words)
        self._begun = True
        self.add(kind, payload)
        self._write()
        self._begun = False

    def _add(self, kind: bytes, batch: bytearray) -> None:
        if batch:
            self.add(kind, bytes(batch))
            batch.clear()

    def _write(self) -> None:
        self._begun = True
        with memoryview(self._frames) as rest:
            written = 0
            while written < len(rest):
                written += os.write(self._descriptor, rest[written:])
        self._frames.clear()
