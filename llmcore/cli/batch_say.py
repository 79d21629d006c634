"""`llmcore batch run --say`: one audio file for each line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmcore.cli.batch_files import find_format
from llmcore.cli.command_errors import UsageError
from llmcore.errors import BadRequest, LLMCoreError
from llmcore.llm.batch.items import Prepared, make_text_body
from llmcore.support.errors import raise_unchained
from llmcore.types import Reply

if TYPE_CHECKING:
    from llmcore.calls.steps import Act
    from llmcore.core import Core
    from llmcore.llm.batch.items import BatchItem
    from llmcore.pipeline.measurement import Measurement

__all__ = ["check_options", "find_index", "make_measure", "make_sender", "prepare_speech", "save_audio"]

_SAFE: Final = re.compile(r"[\w-][\w. -]{0,99}")
"""Matches an id that is safe as a file name."""
_WIDTH: Final = 6
"""The number of digits in a file name that is the number of an item."""


def check_options(args: argparse.Namespace) -> None:
    """Raise `UsageError` for options that do not apply to speech."""
    for option, given in (
        ("--lane", args.lane not in {None, "now"}),
        ("--schema", args.schema is not None),
        ("--system", args.system is not None),
        ("--api", args.api != "chat"),
        ("-o -", args.output == "-"),
    ):
        if given:
            raise UsageError(
                f"{option} does not apply to --say",
                where=option,
                expected="-o FOLDER, and options that set the voice",
                fix=f"llmcore batch run {args.input} --say -o audio",
            )


def prepare_speech(number: int, item: Any, settings: Mapping[str, Any], voice: str | None) -> Prepared:
    """Return the request body that lets a voice speak *item*. The field `voice` of an item replaces *voice*."""
    if isinstance(item, BadRequest):
        return Prepared(number, None, None, item)
    given = {**({} if voice is None else {"voice": voice}), **settings}
    if isinstance(item, Mapping) and item.get("voice"):
        given["voice"] = item["voice"]
    name = item.get("id") if isinstance(item, Mapping) else None
    try:
        prompt = item.get("prompt") if isinstance(item, Mapping) else item
        body = make_text_body(prompt, given, "speak")
    except BadRequest as error:
        return Prepared(number, None if name is None else str(name), None, error)
    return Prepared(number, None if name is None else str(name), body)


def find_index(args: argparse.Namespace) -> str:
    """Create the folder of the audio files, and return the path of the index file in it.

    Raises:
        UsageError: The folder cannot be created.
    """
    folder = Path(args.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise_unchained(
            UsageError(
                f"{folder} cannot be created: {error.strerror}",
                where=f"-o {args.output}",
                expected="a folder for the audio files",
            )
        )
    ending = {"csv": ".csv", "parquet": ".parquet", "tsv": ".tsv"}.get(find_format(args.input), ".jsonl")
    return str(folder / f"index{ending}")


def make_sender(core: Core) -> Callable[..., Awaitable[Reply[Any]]]:
    """Return a function that speaks a body: `{"speak": text, "voice": ..., ...}`.

    The function returns a `Reply`. Its `body` is the audio. Its `text` is the audio format, which becomes the file
    ending.
    """

    async def send(body: Mapping[str, Any], tags: tuple[str, ...]) -> Reply[Any]:
        settings = {name: value for name, value in body.items() if name != "speak"}
        speech = await core.voice.asynthesize(body["speak"], tags=tags, **settings)
        return Reply(
            text=speech.format,
            model=speech.model,
            provider=speech.provider,
            cost=speech.cost,
            cached=speech.cached,
            saved=speech.saved,
            request_id=speech.request_id,
            body=speech.audio,
        )

    return send


def make_measure(core: Core) -> Callable[[Mapping[str, Any]], Act[Measurement]]:
    """Return a function that computes the cost of a body. The function sends nothing, as --dry-run requires."""
    return lambda body: core.voice.measure(
        body["speak"], **{name: value for name, value in body.items() if name != "speak"}
    )


def save_audio(folder: str, item: BatchItem, taken: set[str]) -> str | None:
    """Write the audio of *item* into *folder*. Return the file name; None if the item has failed.

    The file is named by the id of the item. It is named by the number of the item if the item has no id, or if the id is
    unsafe as a file name or already taken.
    """
    if item.reply is None:
        return None
    named = item.id if item.id and _SAFE.fullmatch(item.id) and item.id not in taken else None
    stem = named or f"{item.index + 1:0{_WIDTH}}"
    taken.add(stem)
    name = f"{stem}.{item.reply.text}"
    try:
        (Path(folder) / name).write_bytes(item.reply.body)
    except OSError as error:
        raise_unchained(
            LLMCoreError(
                f"{Path(folder) / name} cannot be written: {error.strerror or error}",
                code="LC324",
                where=folder,
                expected="a disk with space",
            )
        )
    return name
