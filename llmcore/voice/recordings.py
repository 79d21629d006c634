"""Read the recordings for a cloned voice: whole audio files, as bytes or paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeAlias

from llmcore.calls.steps import Act, Step
from llmcore.errors import VoiceError
from llmcore.support.home import expand_home
from llmcore.threads import run_in_thread

__all__ = ["Recording", "read_recordings"]

Recording: TypeAlias = bytes | str | os.PathLike[str]
"""A whole audio file, or its path."""


def read_recordings(audio_files: Sequence[Recording]) -> Act[list[bytes]]:
    """Return the bytes of *audio_files*. Reading does not block an event loop.

    Raises:
        VoiceError: The list is empty, or a recording is empty or cannot be read. The error does not show the
            content of recordings.
    """
    if isinstance(audio_files, bytes | str | os.PathLike) or not isinstance(audio_files, Sequence):
        raise _make_error(
            f"audio_files must be a list of recordings, got {type(audio_files).__name__}",
            fix="audio_files=[recording]",
        )
    if not audio_files:
        raise _make_error("audio_files must hold at least one recording, got an empty list")
    for at, file in enumerate(audio_files):
        if not isinstance(file, bytes | str | os.PathLike):
            raise _make_error(f"audio_files[{at}] must be a path or bytes, got {type(file).__name__}")
    if any(not isinstance(file, bytes) for file in audio_files):
        recordings: list[bytes] | VoiceError = yield Step(_read, _aread, audio_files)
    else:
        recordings = _read(audio_files)
    if isinstance(recordings, VoiceError):
        raise recordings
    return recordings


def _read(audio_files: Sequence[Recording]) -> list[bytes] | VoiceError:
    """Return the bytes, or the error.

    The caller raises the error, so that the system's exception is not chained.
    """
    recordings = []
    for at, file in enumerate(audio_files):
        if isinstance(file, bytes):
            data = file
        else:
            try:
                data = expand_home(file).read_bytes()
            # RuntimeError: the user has no home for "~". ValueError: the path contains a NUL.
            except (OSError, RuntimeError, ValueError) as error:
                cause = (isinstance(error, OSError) and error.strerror) or str(error)
                return _make_error(f"audio_files[{at}] cannot be read: {cause}", where=os.fspath(file))
        if not data:
            return _make_error(f"audio_files[{at}] is empty")
        recordings.append(data)
    return recordings


async def _aread(audio_files: Sequence[Recording]) -> list[bytes] | VoiceError:
    return await run_in_thread(_read, audio_files)


def _make_error(fault: str, *, where: str | None = None, fix: str | None = None) -> VoiceError:
    return VoiceError(
        fault,
        code="LC906",
        where=where,
        expected="whole audio files, as paths or as bytes",
        fix=fix,
    )
