"""`llmcore say`: speak a text into a file, into a pipe, or through a player."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core, parse_seconds, parse_values, read_prompt
from llmcore.cli.question import use_shell_syntax
from llmcore.cli.show import Paint, format_bytes, format_cost, format_seconds, note, print_json
from llmcore.cli.streams import get_stdout, resolve_output_path
from llmcore.errors import LLMCoreError
from llmcore.support.errors import raise_unchained
from llmcore.support.path_kinds import PathKind, classify_path

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.types import Speech

__all__ = ["configure", "run"]

_ENDINGS = {"raw": "pcm", "wave": "wav", "oga": "ogg", "ul": "ulaw", "al": "alaw"}
"""File ending -> format, for endings that are not the name of their format."""
_FORMATS = ("wav", "mp3", "ogg", "opus", "flac", "aac", "pcm", "ulaw", "alaw")
_UNSUPPORTED_ENDINGS = frozenset(
    {
        "3gp", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "m4a", "m4b", "mid", "mka", "mp2", "mp4", "snd",
        "spx", "tta", "weba", "webm", "wma", "wv",
    }
)  # fmt: skip
"""File endings of audio formats that no voice provider returns."""
_BAR_WIDTH = 30
"""The width of the progress bar, in columns."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `say`."""
    parser.epilog = (
        "examples:\n"
        '  llmcore say "It rains" -o rain.wav\n'
        "  llmcore say - -o book.mp3 < book.txt\n"
        '  llmcore ask "Tell me a story" | llmcore say --play'
    )
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="the text to speak; if it is - or missing, stdin is read"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the file to write, whose ending selects the format; - is stdout",
    )
    parser.add_argument(
        "--play", action="store_true", help="play the audio with an installed player; with or without -o"
    )
    parser.add_argument(
        "-v", "--voice", metavar="ID", help="a voice that `llmcore voices` lists; default: the configured one"
    )
    parser.add_argument("-m", "--model", help="a model of the provider; default: the configured one")
    parser.add_argument(
        "-f",
        "--format",
        help=f"{', '.join(_FORMATS)}, or a format name of the provider; default: the ending of FILE",
    )
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the provider, such as speed=1.2; repeatable",
    )
    parser.add_argument("--no-cache", action="store_true", help="do not read or write the cache")
    parser.add_argument("--refresh", action="store_true", help="skip cached audio, and cache the new audio")
    parser.add_argument(
        "--timeout", metavar="TIME", type=parse_seconds, help='the time for the whole text, such as "30s"'
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Speak the text, and write or play the audio."""
    _check(args)
    player = None
    if args.play:
        from llmcore.cli.audio_player import Player

        player = Player.find()
    text = read_prompt(args.text, "llmcore say")
    began = time.perf_counter()
    with open_core(args) as core:
        given = _read_options(args, core)
        bar = (
            _ProgressBar(Paint.for_stream(sys.stderr, no_color=args.no_color))
            if _has_progress(args)
            else None
        )
        try:
            speech = core.voice.synthesize(text, progress=bar, **given)
        except LLMCoreError as error:
            raise_unchained(_use_shell_syntax(error))
        finally:
            if bar is not None:
                bar.clear()
    _write(speech, args)
    _print_summary(speech, args, time.perf_counter() - began)
    if player is not None:
        player.play(speech)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Reject invalid options before the call, because the call costs money."""
    if args.refresh and args.no_cache:
        raise UsageError("--refresh and --no-cache exclude each other", expected="one of them")
    if args.output is None and not args.play:
        raise UsageError(
            "the output is missing",
            expected="-o FILE, or --play",
            fix='llmcore say "Hello" -o hello.wav',
        )
    if args.output == "-":
        if get_stdout().isatty():
            raise UsageError("audio cannot be written to a terminal", expected="-o FILE, or a pipe")
        if args.json:
            raise UsageError(
                "-o - and --json exclude each other: both write to stdout", expected="one of them"
            )
    elif args.output is not None:
        _check_output(Path(args.output), args.format)


def _check_output(path: Path, form: str | None) -> None:
    if classify_path(path) is PathKind.DIRECTORY:
        raise UsageError(
            f"{path} is a folder",
            where="-o",
            expected="a file",
            fix=f'llmcore say "Hello" -o {path / "hello.wav"}',
        )
    if classify_path(path.parent) is not PathKind.DIRECTORY:
        raise UsageError(
            f"the folder {path.parent} does not exist or cannot be entered",
            where="-o",
            expected="a folder that exists",
        )
    if form is None and _get_ending(path) in _UNSUPPORTED_ENDINGS:
        raise UsageError(
            f"the format {path.suffix} is not supported",
            where="-o",
            expected=f"a name that ends in one of {', '.join(_FORMATS)}, or --format as well",
            fix=f"-o {path.with_suffix('.mp3')}",
        )


def _read_options(args: argparse.Namespace, core: Core) -> dict[str, Any]:
    given = parse_values(args.parameter, "-p", "speed=1.2")
    options = {"voice": args.voice, "model": args.model, "timeout": args.timeout, "format": args.format}
    given |= {name: value for name, value in options.items() if value is not None}
    if args.no_cache:
        given["cache"] = False
    if args.refresh:
        given["cache"] = "refresh"
    wanted = _find_format(args.output)
    if wanted is not None and "format" not in given:
        asked = {name: value for name, value in given.items() if name not in ("timeout", "cache")}
        traits = core.voice.traits(**asked)
        # A configured format with this file ending is kept, because it may be more specific, such as mp3_44100_128.
        if traits is None or traits.format != wanted:
            given["format"] = wanted
    return given


def _find_format(output: str | None) -> str | None:
    """Return the format of the file ending; None if the ending is not a format."""
    if output in (None, "-"):
        return None
    ending = _get_ending(Path(output or ""))
    return ending if ending in _FORMATS else None


def _get_ending(path: Path) -> str:
    ending = path.suffix.lstrip(".").lower()
    return _ENDINGS.get(ending, ending)


def _write(speech: Speech, args: argparse.Namespace) -> None:
    if args.output == "-":
        get_stdout().buffer.write(speech.audio)
        get_stdout().buffer.flush()
    elif args.output is not None:
        try:
            speech.save(resolve_output_path(args.output))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise_unchained(
                UsageError(
                    f"the file {args.output} cannot be written: {error.strerror or type(error).__name__}",
                    where="-o",
                    expected="a file that can be written",
                )
            )


def _print_summary(speech: Speech, args: argparse.Namespace, took_s: float) -> None:
    if args.json:
        import msgspec

        plain: dict[str, Any] = msgspec.structs.asdict(speech)
        del plain["audio"], plain["alignment"]
        print_json(file=args.output, size_bytes=len(speech.audio), **plain)
        return
    length = "" if speech.duration_s is None else f"{speech.duration_s:.1f} s of "
    if args.output not in (None, "-"):
        odd = _find_format(args.output) is None and classify_path(args.output) is PathKind.FILE
        named = ", whose ending is not a known format" if odd else ""
        note(f"wrote {length}{speech.format}, {format_bytes(len(speech.audio))}, to {args.output}{named}")
    if sys.stderr.isatty():
        cached = speech.characters - speech.billed_characters
        parts = [
            speech.model or speech.provider,
            f"{speech.characters:,} characters",
            f"{cached:,} of them from the cache" if cached and not speech.cached else "",
            format_cost(speech.cost),
            "from the cache" if speech.cached else "",
            format_seconds(took_s),
        ]
        note(
            Paint.for_stream(sys.stderr, no_color=args.no_color)(
                "dim", " · ".join(part for part in parts if part)
            )
        )


def _has_progress(args: argparse.Namespace) -> bool:
    return bool(sys.stderr.isatty()) and not args.json


class _ProgressBar:
    """A progress bar for a text that is spoken in several pieces."""

    def __init__(self, paint: Callable[[str, str], str]) -> None:
        self._paint = paint
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Draw the bar, unless the text is finished."""
        if not done or done >= total:
            return
        full = _BAR_WIDTH * done // total
        bar = self._paint("cyan", "█" * full) + "░" * (_BAR_WIDTH - full)
        sys.stderr.write(f"\r{bar} {done:,} of {total:,} characters\x1b[K")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Erase the bar."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


_SETTING: Final = re.compile(r"synthesize\(\.\.\., (\w+)=([^()]+)\)")
_CHOICE: Final = re.compile(r'synthesize\(\.\.\., (format|voice)="([\w+-]+)"\)')


def _use_shell_syntax(error: LLMCoreError) -> LLMCoreError:
    """Rewrite the fix of *error* from Python code to command-line options."""
    fix = error.fix or ""
    if fix.startswith("synthesize(..., timeout"):
        error.fix = "--timeout 30m"
    elif chosen := _CHOICE.fullmatch(fix):
        error.fix = f"--{chosen[1]} {chosen[2]}"
    elif setting := _SETTING.fullmatch(fix):
        error.fix = f"-p {setting[1]}={setting[2].strip(chr(39))}"
    elif fix.startswith("text.encode("):
        error.fix = None
    return use_shell_syntax(error)
