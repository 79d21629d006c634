"""The base class of every exception of llmcore: it has the parts of an error, and joins them into one text.

Import the class from `llmcore.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LLMCoreError"]


class LLMCoreError(Exception):
    """An error that names the place, the expected value and a fix.

    `str()` returns all parts on several lines; programs read the attributes.
    """

    __module__ = "llmcore.errors"

    code = "LC000"
    """Stable name of this kind of failure, for searches and for `--json`."""
    answered = False
    """True if the backend had sent a complete answer with a status of success.

    The answer may be billed, so the call is never retried.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str | None = None,
        excerpt: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
        fix: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        """The first line: what happened."""
        if code is not None:
            self.code = code
        self.where = where
        """The place of the cause: `file:line:column`, or the name of an argument."""
        self.excerpt = excerpt
        """The faulty line of the file, and a second line with a marker below the fault."""
        self.expected = expected
        """The valid values, in words."""
        self.suggestion = suggestion
        """The nearest valid name."""
        self.fix = fix
        """A line to paste that fixes the cause."""
        self.notes = tuple(notes)
        """Further lines."""

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f" --> {self.where}")
        if self.excerpt:
            lines.append(self.excerpt)
        if self.expected:
            lines.append(f"  = expected: {self.expected}")
        if self.suggestion:
            lines.append(f"  = help: did you mean `{self.suggestion}`?")
        lines.extend(f"  = note: {note}" for note in self.notes)
        if self.fix:
            lines.append(f"  = fix: {self.fix}")
        return "\n".join(lines)

    def render(self) -> str:
        """Return the text for the command line, with the code first."""
        return f"error[{self.code}]: {self}"
