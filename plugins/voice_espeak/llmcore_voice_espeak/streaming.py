"""Stream samples. A thread reads them from the worker, so a slow caller does not delay the worker."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress

from llmcore.errors import VoiceError
from llmcore_voice_espeak.deadline import Deadline, start_thread

__all__ = ["stream_samples"]


def stream_samples(
    speak: Callable[[Callable[[bytes], object]], object], deadline: Deadline
) -> Iterator[bytes]:
    """Yield the samples that *speak* passes to its callback. Closing the generator early ends the worker.

    A thread reads the samples, so a caller that reads several streams in turn does not occupy all workers.
    """
    pieces: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()

    def carry() -> None:
        try:
            speak(pieces.put)
        except BaseException as error:  # noqa: BLE001 - it is raised to the reader
            pieces.put(error)
        pieces.put(None)

    owner = os.getpid()
    thread = start_thread(carry)
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            if os.getpid() != owner:
                raise VoiceError(
                    "a stream cannot be continued in a forked process",
                    expected="a stream that begins and ends in one process",
                )
    finally:
        if os.getpid() == owner:
            deadline.cancel()
            with suppress(RuntimeError):
                thread.join()
