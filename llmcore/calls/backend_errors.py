"""Adapt the errors of a provider to its backend: the name of the instance, the commands, the line of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llmcore.errors import LLMCoreError, ProviderError

if TYPE_CHECKING:
    from llmcore.calls.backend import Backend

__all__ = ["adapt_fix", "locate_option", "rename_provider"]


def rename_provider(error: LLMCoreError, backend: Backend) -> None:
    """Replace the provider's name and table with the name and table of the instance."""
    replacements = (
        (f"{backend.kind}.{backend.provider_name}", f"{backend.kind}.{backend.name}"),
        (f"provider `{backend.provider_name}`", f"provider `{backend.name}`"),
    )

    def replace(text: str | None) -> str | None:
        for old, new in replacements:
            text = text and text.replace(old, new)
        return text

    if isinstance(error, ProviderError) and error.provider == backend.provider_name:
        error.provider = backend.name
    error.message = replace(error.message) or ""
    error.args = (error.message, *error.args[1:])
    error.where, error.expected = replace(error.where), replace(error.expected)
    error.fix = replace(error.fix)
    error.notes = tuple(replace(note) or "" for note in error.notes)


def adapt_fix(error: LLMCoreError, format_set_line: Callable[[tuple[str, ...], str], str] | None) -> None:
    """Replace the commands in the fix and the notes with lines that change the current configuration.

    *format_set_line* is `Settings.format_set_line`; None keeps the commands.
    """
    if format_set_line is not None:
        from llmcore.config.commands import adapt_commands

        error.fix = error.fix and adapt_commands(error.fix, format_set_line)
        error.notes = tuple(adapt_commands(note, format_set_line) for note in error.notes)


def locate_option(error: LLMCoreError, backend: Backend) -> None:
    """Replace the place of an *error*, such as `[llm.openai] base_url`, with the file and the line that set the option.

    If no configuration file sets the option, the place stays unchanged.
    """
    section, _, option = (error.where or "").partition("] ")
    path = (backend.kind, backend.name, option)
    if section == f"[{backend.kind}.{backend.name}" and backend.get_written(path) is not None:
        where, excerpt = backend.locate(path)
        if excerpt is not None:
            error.where, error.excerpt = where, excerpt
