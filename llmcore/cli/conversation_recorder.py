"""Store a conversation while it continues.

Each question is saved before it is sent, each answer when it has arrived.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from llmcore.cli.show import Paint, fit, get_terminal_width, note
from llmcore.config.layers import MISSING

if TYPE_CHECKING:
    from llmcore.cli.conversations import Conversation, Conversations
    from llmcore.core import Core
    from llmcore.types import Message

__all__ = ["ConversationRecorder", "open_conversation"]


def open_conversation(
    core: Core,
    given: dict[str, Any],
    *,
    name: str | None = None,
    again: bool = False,
    new_name: str | None = None,
    keep: bool = True,
) -> ConversationRecorder:
    """Return the conversation to continue.

    Args:
        core: The Core.
        given: The arguments of `chat`. If they have a model or a system message, it replaces the one that is stored in
            the conversation. If not, the stored model or system message is added to *given*.
        name: Continue this conversation.
        again: Continue the last used conversation; begin a new one if none is stored.
        new_name: The name of a new conversation.
        keep: If False, or if the setting `[chat] keep` is false, the conversation is stored only if *name*, *again* or
            *new_name* is given.

    Raises:
        StorageError: The storage cannot be reached, or does not contain the conversation.
    """
    from llmcore.cli.conversations import Conversation, can_keep, check_name, open_conversations

    wanted = bool(name or again or new_name)
    if not wanted and not (keep and _is_on(core)):
        return ConversationRecorder(None, Conversation(), given)
    if not wanted and not can_keep(core):
        note("warning: this user has no home directory, so the conversation is not kept")
        return ConversationRecorder(None, Conversation(), given)
    if new_name is not None:
        check_name(new_name)
    kept = open_conversations(core)
    found: Conversation | None = None
    if name is not None:
        found = kept.load(name)
    elif again:
        found = kept.load_last()
    else:
        kept.check()  # check the storage before the first call, which costs money
    return ConversationRecorder(kept, found or Conversation(name=new_name or ""), given)


class ConversationRecorder:
    """A conversation and its file."""

    def __init__(self, kept: Conversations | None, conversation: Conversation, given: dict[str, Any]) -> None:
        self.conversation = conversation
        self.is_continued = bool(conversation.messages)
        self._kept = kept
        self._given = given
        for key in ("model", "system"):
            value = given.get(key) or getattr(conversation, key)
            setattr(conversation, key, value)
            if value is not None:
                given[key] = value

    @property
    def name(self) -> str | None:
        """The name of the conversation; None if the conversation is not stored or has no answer yet."""
        return self.conversation.name if self._kept is not None and self.conversation.messages else None

    def introduce(self, *, no_color: bool) -> None:
        """Print the name of the continued conversation and its last messages to stderr."""
        if not self.is_continued or not sys.stderr.isatty():
            return
        messages, width = self.conversation.messages, get_terminal_width(sys.stderr) or 80
        paint = Paint.for_stream(sys.stderr, no_color=no_color)
        note(
            f"continuing {self.conversation.name}: {len(messages)} messages, last used {self.conversation.updated}"
        )
        from llmcore.cli.conversations import get_text

        for message in messages[-2:]:
            mark = "> " if message["role"] == "user" else "  "
            note(paint("dim", fit(mark + " ".join(get_text(message).split()), width)))

    def restart(self) -> None:
        """Begin a new conversation with the same model and system message."""
        from llmcore.cli.conversations import Conversation

        self.conversation = Conversation(model=self._given.get("model"), system=self._given.get("system"))
        self.is_continued = False

    def record_question(self, content: Any) -> list[Message]:
        """Add a question, save the conversation, and return the messages to send.

        Raises:
            StorageError: The conversation cannot be saved; nothing was sent.
        """
        self.conversation.messages.append({"role": "user", "content": content, "at": _format_now()})
        self._save()
        return self.conversation.to_prompt()

    def record_answer(self, text: str, model: str) -> None:
        """Add the answer and save the conversation. If the answer is empty, the question is removed."""
        if text.strip():
            entry = {"role": "assistant", "content": text, "at": _format_now(), "model": model}
            self.conversation.messages.append({key: value for key, value in entry.items() if value})
        else:
            del self.conversation.messages[-1]
        if self.conversation.messages:
            self._save()
        elif self._kept is not None:
            self._kept.discard(self.conversation)

    def _save(self) -> None:
        if self._kept is None:
            return
        before = self.conversation.name
        if not self._kept.save(self.conversation):
            note(f"{before} was continued elsewhere; this conversation goes on as {self.conversation.name}")


def _is_on(core: Core) -> bool:
    return core.settings.get(("chat",)) is MISSING or bool(core.table("chat").keep)


def _format_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
