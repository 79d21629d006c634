"""Play audio with a player that is installed on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from llmcore.cli.command_errors import UsageError

if TYPE_CHECKING:
    from llmcore.types import Speech

__all__ = ["Player"]

_PLAYERS: Final[dict[str, tuple[tuple[str, ...], frozenset[str] | None]]] = {
    "afplay": ((), frozenset({"wav", "mp3", "aac", "flac"})),
    "mpv": (("--no-video", "--really-quiet"), None),
    "ffplay": (("-nodisp", "-autoexit", "-loglevel", "error"), None),
    "play": (("-q",), frozenset({"wav", "mp3", "ogg", "flac"})),
    "pw-play": ((), frozenset({"wav", "ogg", "flac"})),
    "paplay": ((), frozenset({"wav", "ogg", "flac"})),
    "aplay": (("-q",), frozenset({"wav"})),
}
"""Program -> its options and the formats that the program plays. None means every format with a header."""
_RAW_FORMATS: Final = frozenset({"pcm", "ulaw", "alaw"})
"""Formats without a header, which no player can recognise."""


class Player(NamedTuple):
    """The installed players, in order of preference."""

    programs: tuple[str, ...]

    @classmethod
    def find(cls) -> Player:
        """Return the players that are installed.

        Raises:
            UsageError: No player is installed.
        """
        programs = tuple(name for name in _PLAYERS if shutil.which(name))
        if programs:
            return cls(programs)
        raise UsageError(
            "no audio player is installed",
            where="--play",
            expected=f"one of {', '.join(_PLAYERS)}",
            fix='llmcore say "Hello" -o hello.wav',
        )

    def play(self, speech: Speech) -> None:
        """Play *speech* to its end.

        Raises:
            UsageError: No player supports the format, or the player failed.
        """
        fitting = [name for name in self.programs if _can_play(name, speech.format)]
        if not fitting:
            raise UsageError(
                f"none of {', '.join(self.programs)} plays {speech.format}",
                where="--play",
                expected="wav, which every player supports",
                fix="--format wav",
            )
        name = fitting[0]
        with tempfile.TemporaryDirectory(prefix="llmcore-say-") as folder:
            file = speech.save(Path(folder) / f"speech.{speech.format}")
            done = subprocess.run([name, *_PLAYERS[name][0], str(file)], stdout=sys.stderr, check=False)  # noqa: S603 - the program is one of `_PLAYERS`
        if done.returncode:
            raise UsageError(f"{name} failed with exit code {done.returncode}", where="--play")


def _can_play(name: str, kind: str) -> bool:
    formats = _PLAYERS[name][1]
    return kind not in _RAW_FORMATS if formats is None else kind in formats
