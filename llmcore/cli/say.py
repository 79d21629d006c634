"""`llmcore say`: a text as audio, in a file, in a pipe, or played."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmcore.cli.answering import for_a_shell
from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import named_values, opened, prompt_text, seconds_of
from llmcore.cli.show import Paint, bytes_text, dollars, note, print_json, seconds
from llmcore.errors import LLMCoreError

if TYPE_CHECKING:
    from llmcore.core import Core
    from llmcore.types import Speech

__all__ = ["configure", "run"]

_ENDINGS = {"raw": "pcm", "wave": "wav", "oga": "ogg", "ul": "ulaw", "al": "alaw"}
_FORMATS = ("wav", "mp3", "ogg", "opus", "flac", "aac", "pcm", "ulaw", "alaw")
_OTHERS = frozenset(
    {
        "3gp", "aif", "aifc", "aiff", "amr", "ape", "au", "caf", "m4a", "m4b", "mid", "mka", "mp2", "mp4", "snd",
        "spx", "tta", "weba", "webm", "wma", "wv",
    }
)  # fmt: skip
"""Endings of audio that no voice makes."""
_BAR = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `say` takes."""
    parser.epilog = (
        "examples:\n"
        '  llmcore say "It rains" -o rain.wav\n'
        "  llmcore say - -o book.mp3 < book.txt\n"
        '  llmcore ask "Tell me a story" | llmcore say --play'
    )
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="what to say; - is stdin, as is no text at all"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where the audio goes; - is stdout. Its ending says the format"
    )
    parser.add_argument(
        "--play", action="store_true", help="play it, where a player is found; with or without -o"
    )
    parser.add_argument(
        "-v", "--voice", metavar="ID", help="a voice that `llmcore voices` shows; else the configured one"
    )
    parser.add_argument("-m", "--model", help="a model of the provider's; else the configured one")
    parser.add_argument(
        "-f",
        "--format",
        help=f"{', '.join(_FORMATS)}, or the provider's own name of one; else as FILE ends",
    )
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the provider's, such as speed=1.2; repeat it",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read the cache nor keep the audio there"
    )
    parser.add_argument(
        "--refresh", action="store_true", help="speak afresh, and keep that audio in the cache"
    )
    parser.add_argument(
        "--timeout", metavar="TIME", type=seconds_of, help='such as "30s"; over the whole text'
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Speak, and put the audio where it is wanted."""
    _check(args)
    player = None
    if args.play:
        from llmcore.cli.playing import Player

        player = Player.found()
    text = prompt_text(args.text, "llmcore say")
    began = time.perf_counter()
    with opened(args) as core:
        given = _given(args, core)
        bar = _Bar(Paint.of(sys.stderr, no_color=args.no_color)) if _shows_progress(args) else None
        try:
            speech = core.voice.synthesize(text, progress=bar, **given)
        except LLMCoreError as error:
            raise _for_a_shell(error) from None
        finally:
            if bar is not None:
                bar.clear()
    _put(speech, args)
    _tell(speech, args, time.perf_counter() - began)
    if player is not None:
        player.play(speech)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is paid for."""
    if args.refresh and args.no_cache:
        raise UsageError(
            "--refresh keeps the audio in the cache, and --no-cache does not", expected="one of them"
        )
    if args.output is None and not args.play:
        raise UsageError(
            "nothing says where the audio is to go",
            expected="-o FILE, or --play",
            fix='llmcore say "Hello" -o hello.wav',
        )
    if args.output == "-":
        if sys.stdout.isatty():
            raise UsageError("a terminal cannot show audio", expected="-o FILE, or a pipe")
        if args.json:
            raise UsageError("-o - and --json both want stdout", expected="one of them")
    elif args.output is not None:
        _check_output(Path(args.output), args.format)


def _check_output(path: Path, form: str | None) -> None:
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder",
            where="-o",
            expected="a file",
            fix=f'llmcore say "Hello" -o {path / "hello.wav"}',
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", where="-o", expected="a folder that exists")
    if form is None and _ending(path) in _OTHERS:
        raise UsageError(
            f"no voice makes audio of the kind that {path.suffix} names",
            where="-o",
            expected=f"a name that ends in one of {', '.join(_FORMATS)}, or --format beside it",
            fix=f"-o {path.with_suffix('.mp3')}",
        )


def _given(args: argparse.Namespace, core: Core) -> dict[str, Any]:
    given = named_values(args.parameter, "-p", "speed=1.2")
    told = {"voice": args.voice, "model": args.model, "timeout": args.timeout, "format": args.format}
    given |= {name: value for name, value in told.items() if value is not None}
    if args.no_cache:
        given["cache"] = False
    if args.refresh:
        given["cache"] = "refresh"
    wanted = _by_ending(args.output)
    if wanted is not None and "format" not in given:
        asked = {name: value for name, value in given.items() if name not in ("timeout", "cache")}
        traits = core.voice.traits(**asked)
        if traits is None or traits.format != wanted:  # else the configured one may say more of it
            given["format"] = wanted
    return given


def _by_ending(output: str | None) -> str | None:
    """Return the format that the file's ending names, None where it names none."""
    if output in (None, "-"):
        return None
    ending = _ending(Path(output or ""))
    return ending if ending in _FORMATS else None


def _ending(path: Path) -> str:
    ending = path.suffix.lstrip(".").lower()
    return _ENDINGS.get(ending, ending)


def _put(speech: Speech, args: argparse.Namespace) -> None:
    if args.output == "-":
        sys.stdout.buffer.write(speech.audio)
        sys.stdout.buffer.flush()
    elif args.output is not None:
        fault = ""
        try:
            speech.save(args.output)
        except BrokenPipeError:
            raise
        except OSError as error:
            fault = f"the file {args.output} cannot be written: {error.strerror or type(error).__name__}"
        if fault:
            raise UsageError(fault, where="-o", expected="a file that can be written")


def _tell(speech: Speech, args: argparse.Namespace, took_s: float) -> None:
    if args.json:
        import msgspec

        plain: dict[str, Any] = msgspec.structs.asdict(speech)
        del plain["audio"], plain["alignment"]
        print_json(file=args.output, size_bytes=len(speech.audio), **plain)
        return
    length = "" if speech.duration_s is None else f"{speech.duration_s:.1f} s of "
    if args.output not in (None, "-"):
        odd = _by_ending(args.output) is None and Path(args.output).is_file()
        named = ", whose ending names no format" if odd else ""
        note(f"wrote {length}{speech.format}, {bytes_text(len(speech.audio))}, to {args.output}{named}")
    if sys.stderr.isatty():
        cached = speech.characters - speech.billed_characters
        parts = [
            speech.model or speech.provider,
            f"{speech.characters:,} characters",
            f"{cached:,} of them from the cache" if cached and not speech.cached else "",
            dollars(speech.cost),
            "from the cache" if speech.cached else "",
            seconds(took_s),
        ]
        note(Paint.of(sys.stderr, no_color=args.no_color)("dim", " · ".join(part for part in parts if part)))


def _shows_progress(args: argparse.Namespace) -> bool:
    return bool(sys.stderr.isatty()) and not args.json


class _Bar:
    """Shows on a terminal how far a text of several pieces has come."""

    def __init__(self, paint: Callable[[str, str], str]) -> None:
        self._paint = paint
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Draw it, unless all is done."""
        if not done or done >= total:
            return
        full = _BAR * done // total
        bar = self._paint("cyan", "█" * full) + "░" * (_BAR - full)
        sys.stderr.write(f"\r{bar} {done:,} of {total:,} characters\x1b[K")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _for_a_shell(error: LLMCoreError) -> LLMCoreError:
    """Put what the error advises an application to write as a person at a shell writes it."""
    fix = error.fix or ""
    if fix.startswith("synthesize(..., timeout"):
        error.fix = "--timeout 30m"
    elif fix.startswith("synthesize(..., format="):
        error.fix = "--format mp3"
    elif fix.startswith("text.encode("):
        error.fix = None
    return for_a_shell(error)
