"""`llmcore voices`: list and search voices, and list speech models."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llmcore.cli.command_helpers import open_core, parse_values
from llmcore.cli.show import note, print_json
from llmcore.cli.text_table import print_table

if TYPE_CHECKING:
    from llmcore.types import VoiceInfo
    from llmcore.voice import VoiceClient

__all__ = ["configure", "run"]

_LIMIT = 500
_PAGE_SIZE = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `voices`."""
    parser.epilog = (
        "examples:\n"
        "  llmcore voices\n"
        "  llmcore voices warm narrator --language en\n"
        "  llmcore voices -p gender=female --json"
    )
    parser.add_argument("query", nargs="*", metavar="WORD", help="a word in the name, description or labels")
    parser.add_argument("--language", metavar="CODE", help='a language, such as "en" or "en-GB"')
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="filter by a label, or by another filter of the provider; repeatable",
    )
    parser.add_argument(
        "--limit",
        metavar="NUMBER",
        type=int,
        default=_LIMIT,
        help=f"the maximum number of voices; default: {_LIMIT}",
    )
    parser.add_argument("--models", action="store_true", help="list speech models instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the voices, or the models."""
    with open_core(args) as core:
        if args.models:
            return _list_models(core.voice, args)
        filters = parse_values(args.parameter, "-p", "gender=female")
        if args.language:
            filters["language"] = args.language
        voices, more = _search(core.voice, " ".join(args.query) or None, args.limit, filters)
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
    rows = [(voice.voice_id, voice.name, voice.language or "", _describe(voice)) for voice in voices]
    if rows:
        headers = ("VOICE", "NAME", "LANGUAGE", "LABELS")
        print_table(
            args,
            headers,
            rows,
            whole=("VOICE", "LANGUAGE"),
            optional=("LABELS", "LANGUAGE"),
            wrapped=("NAME",),
        )
    else:
        note("no voice matches")
    if more:
        note(f"more than {len(rows):,} voices match; raise --limit, or add words or filters")
    return 0


def _search(
    client: VoiceClient, query: str | None, limit: int, filters: dict[str, object]
) -> tuple[list[VoiceInfo], bool]:
    """Search page by page. Return at most *limit* voices, and whether there are more."""
    voices: list[VoiceInfo] = []
    after: str | None = None
    while True:
        size = min(_PAGE_SIZE, limit - len(voices))
        page = client.search_voices(query, limit=size, after=after, **filters)
        voices += page.voices
        after = page.next
        if after is None or len(voices) >= limit:
            return voices[:limit], after is not None


def _list_models(client: VoiceClient, args: argparse.Namespace) -> int:
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
    headers = ("MODEL", "NAME", "MAX CHARACTERS", "LANGUAGES")
    print_table(args, headers, rows, whole=("MODEL",), optional=("LANGUAGES", "MAX CHARACTERS", "NAME"))
    return 0


def _describe(voice: VoiceInfo) -> str:
    labels = ", ".join(f"{name}: {value}" for name, value in voice.labels.items() if value)
    return labels or voice.description or ""
