"""The tokens of a body of Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llmcore_openai_optimized.counting.asked import Called, Item, Result, Said, named, retold
from llmcore_openai_optimized.counting.parallel import calls_text, results_text
from llmcore_openai_optimized.counting.schema import schema_text
from llmcore_openai_optimized.counting.sums import MESSAGE, Sum

__all__ = ["ChatSum"]

_CALL: Final = 5
"""A call, beside name and arguments: 430 rows."""
_RESULT: Final = 7
"""A result, beside `functions.name` and text: 440 rows."""
_CALL_GPT5: Final = 10
"""Of gpt-5, whose calls name `functions.name`: 8 rows."""
_PARALLEL: Final = 20
"""Calls that were made at once and their results, beside their JSON: 40 rows."""
_PARALLEL_GPT5: Final = 26
"""Of gpt-5: 5 rows."""
_TOOLS_GPT5: Final = 80
"""What gpt-5 is told about tools besides the tools: 33 rows."""
_INSTRUCTIONS_GPT5: Final = 3
"""A heading, where instructions stand before the tools in the same message: 13 rows."""
_FORM: Final = 2
"""A form for the answer, beside its text and once more its name; nothing where there are tools: 100 rows."""


class ChatSum(Sum):
    """Chat Completions."""

    def total(self) -> int:
        """Return the tokens of the prompt."""
        tools = self.namespace()
        form = self._form()
        tail = "".join(
            "\n\n" + text for text in (tools and f"# Tools\n\n## functions\n\n{tools}", form) if text
        )
        sum_ = self.around() + self._tools() + (self._form_name() if form and not tools else 0)
        for item, results in self._turns():
            if tail and isinstance(item, Said) and self._takes(item):
                heading = _INSTRUCTIONS_GPT5 if self.family.gpt5 and tools else 0
                sum_ += heading + self.said(item._replace(text=item.text + tail))
                tail = ""
            else:
                sum_ += self._item(item, results)
        return sum_ + (MESSAGE + self.tokens(tail.lstrip("\n")) if tail else 0)

    def _turns(self) -> Iterator[tuple[Item, list[Result]]]:
        """Yield the items; with calls that were made at once their results."""
        items = self.whole.items
        at = 0
        while at < len(items):
            item, results = items[at], list[Result]()
            at += 1
            if isinstance(item, Called) and len(item.calls) > 1:
                while at < len(items) and len(results) < len(item.calls):
                    result = items[at]
                    if not isinstance(result, Result):
                        break
                    results.append(result)
                    at += 1
            yield item, results

    def _takes(self, item: Said) -> bool:
        """Return whether tools and form stand at the end of this message: the first of the system's."""
        first = item is self.whole.items[0]
        return item.role in ("system", "developer") and (first or not self.family.gpt5)

    def _tools(self) -> int:
        if not self.whole.functions:
            return 0
        if self.family.gpt5:
            return _TOOLS_GPT5 + self.described
        return (0 if self.family.reasoning else -1) + self.named_choice()

    def _form(self) -> str:
        form = self.whole.schema
        if form is None:
            return ""
        system = [item for item in self.whole.items if isinstance(item, Said) and item.role == "system"]
        if len(system) > 1 or self.family.gpt5:
            self.whole.doubts.add("response_format")
        return f"# Response Formats\n\n## {named(form)}\n\n{schema_text(form.get('schema') or {})}"

    def _form_name(self) -> int:
        form = self.whole.schema or {}
        about = form.get("description")
        return _FORM + self.tokens(about if isinstance(about, str) and about else named(form))

    def _item(self, item: Item, results: list[Result]) -> int:
        if isinstance(item, Said):
            return self.said(item)
        if isinstance(item, Result):
            name = self.result_name(item)
            return _RESULT + name + self.tokens(item.text) + self.pictures(item.pictures)
        if len(item.calls) > 1:
            return self._parallel(item, results)
        call = item.calls[0]
        arguments = self.tokens(retold(call.arguments)) + self.speaker(item.name)
        if self.family.gpt5:
            return _CALL_GPT5 + self.tokens("functions." + call.name) + arguments
        return _CALL + self.tokens(call.name) + arguments

    def _parallel(self, item: Called, results: list[Result]) -> int:
        if len(results) < len(item.calls) or any(result.pictures for result in results):
            self.whole.doubts.add("calls")
        texts = [result.text for result in results]
        sum_ = self.tokens(calls_text(item)) + self.tokens(results_text(texts, self.family))
        pictures = sum(self.pictures(result.pictures) for result in results)
        return sum_ + pictures + self.speaker(item.name) + (_PARALLEL_GPT5 if self.family.gpt5 else _PARALLEL)
