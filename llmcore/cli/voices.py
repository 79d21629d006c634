"""`llmcore voices`: the voices on offer, searched; and the models that speak."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from llmcore.cli.opening import named_values, opened
from llmcore.cli.show import Paint, note, print_json, table

if TYPE_CHECKING:
    from llmcore.types import VoiceInfo
    from llmcore.voice import VoiceClient

__all__ = ["configure", "run"]

_MOST = 500
_PAGE = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `voices` takes."""
    parser.epilog = (
        "examples:\n"
        "  llmcore voices\n"
        "  llmcore voices warm narrator --language en\n"
        "  llmcore voices -p gender=female --json"
    )
    parser.add_argument("query", nargs="*", metavar="WORD", help="what the name, description or labels hold")
    parser.add_argument("--language", metavar="CODE", help='such as "en" or "en-GB"')
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another filter of the provider's, or a label; repeat it",
    )
    parser.add_argument(
        "--limit", metavar="NUMBER", type=int, default=_MOST, help=f"at most so many; else {_MOST}"
    )
    parser.add_argument("--models", action="store_true", help="list the models that speak instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the voices, or the models."""
    with opened(args) as core:
        if args.models:
            return _models(core.voice, args)
        filters = named_values(args.parameter, "-p", "gender=female")
        if args.language:
            filters["language"] = args.language
        voices, more = _found(core.voice, " ".join(args.query) or None, args.limit, filters)
    if args.json:
        print_json(
            voices=[
                {
                    "voice_id": voice.voice_id,
                    "name": voice.name,
                    "language": voice.language,
                    "description": voice.description,
                    "labels": dict(voice.labels),
                }
                for voice in voices
            ],
            more=more,
        )
        return 0
    rows = [(voice.voice_id, voice.name, voice.language or "", _told(voice)) for voice in voices]
    if rows:
        print(
            table(("VOICE", "NAME", "LANGUAGE", "LABELS"), rows, Paint.of(sys.stdout, no_color=args.no_color))
        )
    else:
        note("no voice fits")
    if more:
        note(
            f"there are more than these {len(rows):,}; --limit shows them, words and filters narrow them down"
        )
    return 0


def _found(
    client: VoiceClient, query: str | None, limit: int, filters: dict[str, object]
) -> tuple[list[VoiceInfo], bool]:
    """Return at most *limit* voices, page by page, and whether there are more."""
    voices: list[VoiceInfo] = []
    after: str | None = None
    while True:
        size = min(_PAGE, limit - len(voices))
        page = client.search_voices(query, limit=size, after=after, **filters)
        voices += page.voices
        after = page.next
        if after is None or len(voices) >= limit:
            return voices[:limit], after is not None


def _models(client: VoiceClient, args: argparse.Namespace) -> int:
    models = client.models()
    if args.json:
        print_json(
            models=[
                {
                    "model_id": model.model_id,
                    "name": model.name,
                    "max_characters": model.max_characters,
                    "languages": list(model.languages),
                }
                for model in models
            ]
        )
        return 0
    rows = [
        (
            model.model_id,
            model.name,
            "" if model.max_characters is None else f"{model.max_characters:,}",
            str(len(model.languages) or ""),
        )
        for model in models
    ]
    print(
        table(
            ("MODEL", "NAME", "MOST CHARACTERS", "LANGUAGES"),
            rows,
            Paint.of(sys.stdout, no_color=args.no_color),
        )
    )
    return 0


def _told(voice: VoiceInfo) -> str:
    labels = ", ".join(f"{name}: {value}" for name, value in voice.labels.items() if value)
    return labels or voice.description or ""
