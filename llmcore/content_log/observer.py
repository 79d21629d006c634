"""Write every chat to the log: the prompt, the answer and the cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.content_log.redaction import Redaction, find_keys
from llmcore.hookspecs import Observer
from llmcore.log import get_logger
from llmcore.support.user_folders import get_user_folder

if TYPE_CHECKING:
    from llmcore.config import Settings
    from llmcore.content_log.database import LogFile
    from llmcore.types import CallEvent, ChatRequest

__all__ = ["ContentLog", "find_log_path", "make_content_log"]

_PRUNE_EVERY_S: Final = 3600.0


def find_log_path(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """Return the file of the log: *path*, or a file in the user's state folder.

    The result is None if *path* is None and the user has no home directory.
    """
    if path is not None:
        return path
    folder = get_user_folder("state", env)
    return None if folder is None else folder / "log.sqlite3"


def make_content_log(settings: Settings, options: Any) -> ContentLog:
    """Return the observer that *options*, the table `[log]`, configures."""
    return ContentLog(
        find_log_path(options.path, settings.env),
        Redaction(options.redact, find_keys(settings)),
        keep_s=options.keep,
    )


class ContentLog(Observer):
    """The observer that writes the log. If the log cannot be written, one warning is logged, and no call fails.

    Args:
        path: The path of the file; None if the user has no home directory that could contain it.
        redaction: Removes secrets from every text.
        keep_s: Seconds after which an entry is deleted. If None, no entry is deleted.
    """

    receives_content = True

    def __init__(self, path: Path | None, redaction: Redaction, *, keep_s: float | None = None) -> None:
        self._path = path
        self._redaction = redaction
        self._keep_s = keep_s
        self._file: LogFile | None = None
        self._prune_at = 0.0
        self._is_broken = False

    def on_call(self, event: CallEvent) -> None:
        """Write the chat that has ended. The entry is in the file when the method returns."""
        if event.request is None or self._is_broken:
            return
        import apsw

        try:
            self._open().add(self._make_entry(event, event.request))
            self._prune()
        except (apsw.Error, OSError) as error:
            self._is_broken = True
            get_logger(__name__).warning(
                "the log of prompts and answers cannot be written to %s: %s; calls are not logged any more",
                self._path or "any folder: the user has no home directory",
                error,
            )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> LogFile:
        from llmcore.content_log.database import LogFile

        if self._path is None:
            raise FileNotFoundError("no folder")
        if self._file is None:
            self._file = LogFile(self._path)
        return self._file

    def _prune(self) -> None:
        now = time.monotonic()
        if self._keep_s is not None and now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY_S
            self._open().prune(self._keep_s)

    def _make_entry(self, event: CallEvent, request: ChatRequest) -> dict[str, Any]:
        clean = self._redaction.clean
        reply, messages = event.reply, _get_messages(request)
        calls = [] if reply is None else msgspec.to_builtins(reply.tool_calls)
        return {
            "time": event.started_at or time.time(),
            "call": event.call,
            "provider": event.provider,
            "model": event.model,
            "user": event.user,
            "tags": ",".join(event.tags),
            "cached": int(event.cached),
            "stream": int(event.stream),
            "error": event.error,
            "finish_reason": event.finish_reason,
            "input_tokens": event.usage.input_tokens,
            "output_tokens": event.usage.output_tokens,
            "cost": None if event.cost is None else str(event.cost),
            "latency_s": event.latency_s,
            "request_id": event.request_id,
            "system": clean("\n".join(_get_text(each) for each in messages if each.get("role") in _SYSTEM)),
            "prompt": clean(_find_prompt(messages)),
            "answer": "" if reply is None else clean(reply.text or reply.refusal or ""),
            "messages": _format_json(self._redaction.clean_value(messages)),
            "tool_calls": _format_json(self._redaction.clean_value(calls)) if calls else None,
        }


_SYSTEM: Final = ("system", "developer")


def _get_messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the messages of a request of any API."""
    if request.messages:
        return [dict(each) for each in request.messages]
    given = request.parameters.get("messages") or request.parameters.get("input") or ""
    system = request.parameters.get("instructions") or request.parameters.get("system")
    before = [{"role": "system", "content": system}] if system else []
    if isinstance(given, str):
        return [*before, {"role": "user", "content": given}]
    return [*before, *(each if isinstance(each, dict) else {"content": str(each)} for each in given)]


def _find_prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last message of the user; if the user wrote none, the text of the last message."""
    users = [each for each in messages if each.get("role") == "user"]
    return _get_text((users or messages)[-1]) if messages else ""


def _get_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and "text" in part)


def _format_json(value: Any) -> str:
    return msgspec.json.encode(value).decode(errors="replace")
