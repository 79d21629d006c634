"""Count the parts of a prompt that Chat Completions and Responses share: messages, images, tools.

Each number here and in `chat` and `responses` is given with its evidence: the number of rows. A row is one recorded
request with the `usage` that the server reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.models import Family
from llmcore_openai_optimized.counting.parsed_request import (
    CallsItem,
    MessageItem,
    ParsedRequest,
    Picture,
    ResultItem,
    get_name,
)

__all__ = ["LONGEST_FORM", "MESSAGE", "Measure", "PromptSum"]

Measure = Callable[[str], int]
"""A function that returns the tokens of a text."""

MESSAGE: Final = 4
"""The tokens of the frame of a message. Confirmed by 700 rows of all families except gpt-3.5-turbo-0301."""

LONGEST_FORM: Final = 2607
"""The number of characters in the longest response schema with a recorded count. Longer schemas are estimated."""

_PAST_REPLY: Final = 2
"""The additional tokens of each earlier reply of a reasoning model, for the channel of the reply."""

_CHOICE: Final = 7
"""The tokens of a tool choice by name, in addition to the name."""

_HIDDEN: Final = 8
"""The approximate number of characters of encrypted reasoning that count as one token."""


class PromptSum:
    """PromptSum the tokens of one prompt. If the sum is an estimate, add the reasons to `whole.doubts`."""

    def __init__(self, whole: ParsedRequest, family: Family, measure: Measure) -> None:
        self.whole = whole
        self.family = family
        self.tokens = measure

    def count_frame(self) -> int:
        """Return the tokens of the opening of the reply, of hidden reasoning and of unparsed parts."""
        if not self.family.measured or self.family.early:
            self.whole.doubts.add("model")
        whole = self.whole
        if self.family.relayed and (
            whole.functions or whole.schema or any(isinstance(item, CallsItem) for item in whole.items)
        ):
            # At OpenRouter, the count was exact for 64 of 64 plain requests, but only for 50 of 81 other requests.
            whole.doubts.add("gateway")
        opening = 2 if self.family.reasoning else 3
        return opening + self.whole.hidden // _HIDDEN + sum(map(self.tokens, self.whole.unparsed))

    @property
    def replies(self) -> int:
        """The number of earlier replies."""
        return sum(isinstance(item, MessageItem) and item.role == "assistant" for item in self.whole.items)

    def doubt_history(self) -> None:
        """Add a doubt for earlier replies of o3-mini.

        In the only row with such replies, they have two tokens less than replies of o3 and o4-mini.
        """
        if self.family.name.startswith("o3-mini") and self.replies:
            self.whole.doubts.add("replies")

    def count_message(self, item: MessageItem) -> int:
        """Return the tokens of a message."""
        past_reply = _PAST_REPLY if self.family.reasoning and item.role == "assistant" else 0
        text = self.tokens(item.text) + self.count_name(item.name)
        return MESSAGE + past_reply + text + self.count_pictures(item.pictures)

    def count_name(self, name: str) -> int:
        """Return the tokens of a message's `name`. The server adds no other tokens for it, as six rows show."""
        return self.tokens(name) if name else 0

    def count_result_name(self, result: ResultItem) -> int:
        """Return the tokens of `functions.NAME`, the author of a result. Add a doubt if the call is missing."""
        if not result.name:
            self.whole.doubts.add("result")
        return self.tokens("functions." + result.name)

    def count_pictures(self, pictures: tuple[Picture, ...]) -> int:
        """Return the tokens of images."""
        if not pictures:
            return 0
        from llmcore_openai_optimized.counting.images import get_image_cost

        sum_ = 0
        for picture in pictures:
            cost = get_image_cost(picture, self.family)
            sum_ += cost.tokens
            if not cost.known:
                self.whole.doubts.add("picture")
        return sum_

    def render_tools(self) -> str:
        """Return the rendered functions; an empty text if the request has no functions."""
        whole = self.whole
        if not whole.functions:
            return ""
        from llmcore_openai_optimized.counting.render import TooLarge, render_namespace

        try:
            rendered = render_namespace(
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

    def count_choice(self) -> int:
        """Return the tokens of a tool choice by name."""
        choice: Any = self.whole.choice
        # For gpt-5, the server adds no tokens for a tool choice (in 4 recorded requests).
        if not isinstance(choice, Mapping) or self.family.gpt5:
            return 0
        function = choice.get("function")
        name = get_name(function if isinstance(function, Mapping) else choice)
        return _CHOICE + self.tokens(name) if name else 0

    @property
    def description_tokens(self) -> int:
        """Return 1 if the first function has a description, because gpt-5 then uses one more token for `//` (31 rows)."""
        about = self.whole.functions[0].get("description")
        return 1 if isinstance(about, str) and about.strip() else 0
