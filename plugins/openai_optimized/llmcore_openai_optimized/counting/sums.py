"""What both APIs share of a prompt: messages, pictures, tools.

Every number here and in `chat` and `responses` stands with what it was found on: recorded requests beside the `usage`
that the server itself told, one row a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.asked import Asked, Picture, Result, Said, named
from llmcore_openai_optimized.counting.images import cost_of
from llmcore_openai_optimized.counting.models import Family
from llmcore_openai_optimized.counting.render import TooLarge, namespace

__all__ = ["MESSAGE", "Measure", "Sum"]

Measure = Callable[[str], int]
"""Gives the tokens of a text."""

MESSAGE: Final = 4
"""The frame of a message; exact in 700 rows of every family but gpt-3.5-turbo-0301."""

_PAST_REPLY: Final = 2
"""The channel of an earlier reply of a reasoning model."""

_CHOICE: Final = 7
"""A tool that must be called, beside its name."""

_HIDDEN: Final = 8
"""Characters of encrypted reasoning that were seen to go with one token, roughly."""


class Sum:
    """The tokens of one prompt; what makes them an estimate is added to the doubts of *whole*."""

    def __init__(self, whole: Asked, family: Family, measure: Measure) -> None:
        self.whole = whole
        self.family = family
        self.tokens = measure

    def around(self) -> int:
        """Return what opens the reply, and what nobody knows how to count."""
        if not self.family.measured or self.family.early:
            self.whole.doubts.add("model")
        opening = 2 if self.family.reasoning else 3
        return opening + self.whole.hidden // _HIDDEN + sum(map(self.tokens, self.whole.loose))

    def said(self, item: Said) -> int:
        """Return a message's tokens."""
        past_reply = _PAST_REPLY if self.family.reasoning and item.role == "assistant" else 0
        text = self.tokens(item.text) + self.speaker(item.name)
        return MESSAGE + past_reply + text + self.pictures(item.pictures)

    def speaker(self, name: str) -> int:
        """Return what a message's `name` costs: no token more than its own has, in six rows."""
        return self.tokens(name) if name else 0

    def result_name(self, result: Result) -> int:
        """Return what the author of a result costs; of a call that is not there, nobody knows the name."""
        if not result.name:
            self.whole.doubts.add("result")
        return self.tokens("functions." + result.name)

    def pictures(self, pictures: tuple[Picture, ...]) -> int:
        """Return what pictures cost."""
        sum_ = 0
        for picture in pictures:
            cost = cost_of(picture, self.family)
            sum_ += cost.tokens
            if not cost.known:
                self.whole.doubts.add("picture")
        return sum_

    def namespace(self) -> str:
        """Return the functions as text; nothing where there is none."""
        whole = self.whole
        if not whole.functions:
            return ""
        try:
            rendered = namespace(
                whole.functions,
                repeats=not whole.responses,
                item_comments=whole.item_comments and not self.family.early,
            )
        except TooLarge:
            whole.doubts.add("tools")
            whole.boundless.add("tools")
            return ""
        whole.doubts.update(rendered.doubts)
        return rendered.text

    def named_choice(self) -> int:
        """Return what it costs to name the tool that must be called."""
        choice: Any = self.whole.choice
        if not isinstance(choice, Mapping) or self.family.gpt5:  # gpt-5: nothing, 4 rows
            return 0
        function = choice.get("function")
        name = named(function if isinstance(function, Mapping) else choice)
        return _CHOICE + self.tokens(name) if name else 0

    @property
    def described(self) -> int:
        """1 where the first function has a description, whose `//` costs gpt-5 a token more (31 rows)."""
        about = self.whole.functions[0].get("description")
        return 1 if isinstance(about, str) and about.strip() else 0
