"""`llmcore chat --list` and `--search`: show the stored conversations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llmcore.cli.conversations import Conversation, Conversations, get_text
from llmcore.cli.show import note, print_json
from llmcore.cli.text_table import print_table

__all__ = ["print_conversations"]

_BEFORE = 20
"""The number of characters that are shown before the word that was found."""
_LONGEST = 200
"""Maximum number of characters of a message that are shown."""


def print_conversations(kept: Conversations, args: argparse.Namespace) -> int:
    """Print the conversations, most recently used first. `--search` prints only those that contain all words.

    Returns:
        The exit code: 0, even if no conversation matches.
    """
    words: Sequence[str] = args.search or ()
    found: list[tuple[Conversation, str]] = []
    for each in kept.iterate_all():
        if isinstance(each, Exception):
            note(f"warning: {each.message}")
            continue
        text = _find(each, words) if words else each.first_question
        if text is not None:
            found.append((each, text))
        if args.number and len(found) == args.number:
            break
    if args.json:
        print_json(conversations=[_make_row(each, text) for each, text in found])
    elif found:
        rows = [(each.name, each.updated[:10], str(len(each.messages)), text) for each, text in found]
        headers = ("NAME", "UPDATED", "MESSAGES", "TEXT" if words else "QUESTION")
        print_table(args, headers, rows, whole=("NAME", "UPDATED"), optional=("MESSAGES", "UPDATED"))
    else:
        note(
            f"no conversation in {kept.place} has these words"
            if words
            else f"no conversation is kept in {kept.place}"
        )
    return 0


def _make_row(each: Conversation, text: str) -> dict[str, object]:
    return {
        "name": each.name,
        "created": each.created,
        "updated": each.updated,
        "messages": len(each.messages),
        "model": each.model,
        "text": text,
    }


def _find(conversation: Conversation, words: Sequence[str]) -> str | None:
    """Return the text around the first occurrence of one of *words*, on one line. Case is ignored.

    Return None if one of the words does not occur in the conversation.
    """
    wanted = [part.casefold() for word in words for part in word.split()]
    texts = [" ".join(get_text(message).split()) for message in conversation.messages]
    if not all(any(word in text.casefold() for text in texts) for word in wanted):
        return None
    for text in texts:
        at = min((place for word in wanted if (place := text.casefold().find(word)) >= 0), default=-1)
        if at >= 0:
            start = max(0, at - _BEFORE)
            return ("..." if start else "") + text[start : start + _LONGEST]
    return ""
