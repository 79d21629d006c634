"""What the parts of a prompt come to, by the rules that servers were seen to follow.

Every rule stands with what it was found on: recorded requests beside the `usage` that the server itself told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmcore_openai_optimized.counting.asked import Asked, Called, Item, Picture, Result, Said, named, retold
from llmcore_openai_optimized.counting.images import cost_of
from llmcore_openai_optimized.counting.models import Family
from llmcore_openai_optimized.counting.render import TooLarge, namespace
from llmcore_openai_optimized.counting.schema import schema_text

__all__ = ["Measure", "total"]

Measure = Callable[[str], int]
"""Gives the tokens of a text."""


def total(whole: Asked, family: Family, measure: Measure) -> int:
    """Return the tokens of the prompt; what makes them an estimate is added to the doubts of *whole*."""
    return _Sum(whole, family, measure).total()


class _Sum:
    def __init__(self, whole: Asked, family: Family, measure: Measure) -> None:
        self._whole = whole
        self._family = family
        self._tokens = measure

    def total(self) -> int:
        whole = self._whole
        opening = 2 if self._family.reasoning else 3
        rest = sum(map(self._tokens, whole.loose))
        return opening + rest + (self._responses() if whole.responses else self._chat())

    # Chat Completions

    def _chat(self) -> int:
        whole, family = self._whole, self._family
        tools, form = self._chat_tools(), self._chat_form()
        joined = "".join("\n\n" + text for text in (tools, form) if text)
        sum_ = 0
        for item in whole.items:
            if isinstance(item, Said) and item.role in ("system", "developer") and not family.gpt5:
                sum_, joined = sum_ + self._said(item._replace(text=item.text + joined)), ""
            else:
                sum_ += self._chat_item(item)
        if joined:
            sum_ += 4 + self._tokens(joined.lstrip("\n"))
        if tools:
            sum_ += 80 if family.gpt5 else -1
            sum_ += self._named_choice()
        elif form and whole.schema is not None:
            name = named(whole.schema)
            about = whole.schema.get("description")
            sum_ += 2 + self._tokens(about if isinstance(about, str) and about else name)
        return sum_

    def _chat_tools(self) -> str:
        space = self._namespace(inline=not self._family.gpt5)
        return f"# Tools\n\n## functions\n\n{space}" if space else ""

    def _chat_form(self) -> str:
        form = self._whole.schema
        if form is None:
            return ""
        return f"# Response Formats\n\n## {named(form)}\n\n{schema_text(form.get('schema') or {})}"

    def _chat_item(self, item: Item) -> int:
        if isinstance(item, Said):
            return self._said(item)
        if isinstance(item, Result):
            return (
                7
                + self._tokens("functions." + item.name)
                + self._tokens(item.text)
                + self._pictures(item.pictures)
            )
        texts = sum(self._tokens(name) + self._tokens(retold(arguments)) for name, arguments in item.calls)
        if len(item.calls) == 1:
            return texts + 5 + (6 if self._family.gpt5 else 0)
        return texts + 11 - (4 if self._family.gpt5 else 0) + 5 * len(item.calls)

    # Responses

    def _responses(self) -> int:
        whole, family = self._whole, self._family
        sum_ = 0
        space = self._namespace(inline=True)
        if space:
            sum_ += 4 + self._tokens(space)
            if family.gpt5:
                sum_ += 5 if whole.functions[0].get("description") else 4
            else:
                sum_ += 0 if family.reasoning else -1
                if whole.choice == "required" and not any(isinstance(item, Result) for item in whole.items):
                    sum_ += 9
                sum_ += self._named_choice()
        if whole.schema is not None:
            text = schema_text(whole.schema.get("schema") or {})
            sum_ += (
                7 + self._tokens(text) + self._tokens(named(whole.schema)) - (1 if family.reasoning else 0)
            )
        if family.gpt5 and any(isinstance(item, Called) for item in whole.items):
            sum_ += 1
        return sum_ + sum(map(self._responses_item, whole.items))

    def _responses_item(self, item: Item) -> int:
        if isinstance(item, Said):
            return self._said(item)
        if isinstance(item, Result):
            return (
                self._tokens("functions." + item.name)
                + self._tokens(item.text)
                + self._pictures(item.pictures)
            )
        if self._family.gpt5:
            return sum(
                18 + self._tokens(name) + self._tokens(retold(arguments)) for name, arguments in item.calls
            )
        more = 12 if self._family.name == "gpt-4o" or self._family.name.startswith("gpt-4o-20") else 9
        return sum(
            more + self._tokens("functions." + name) + self._tokens(retold(arguments))
            for name, arguments in item.calls
        )

    # Both

    def _said(self, item: Said) -> int:
        past_reply = 2 if self._family.reasoning and item.role == "assistant" else 0
        name = self._tokens(item.name) + 1 if item.name else 0
        return 4 + past_reply + self._tokens(item.text) + name + self._pictures(item.pictures)

    def _pictures(self, pictures: tuple[Picture, ...]) -> int:
        sum_ = 0
        for picture in pictures:
            cost = cost_of(picture, self._family)
            sum_ += cost.tokens
            if not cost.known:
                self._whole.doubts.add("picture")
        return sum_

    def _namespace(self, *, inline: bool) -> str:
        if not self._whole.functions:
            return ""
        try:
            return namespace(self._whole.functions, inline=inline)
        except TooLarge:
            self._whole.doubts.add("tools")
            self._whole.boundless.add("tools")
            return ""

    def _named_choice(self) -> int:
        choice: Any = self._whole.choice
        if not isinstance(choice, Mapping):
            return 0
        function = choice.get("function")
        name = named(function if isinstance(function, Mapping) else choice)
        return 7 + self._tokens(name) if name else 0
