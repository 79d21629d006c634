"""Count the tokens of a body of Chat Completions. A row is one recorded request; see `prompt_sum`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llmcore_openai_optimized.counting.parsed_request import (
    CallsItem,
    Item,
    MessageItem,
    ResultItem,
    get_name,
    normalise_arguments,
)
from llmcore_openai_optimized.counting.prompt_sum import LONGEST_FORM, MESSAGE, PromptSum

__all__ = ["ChatSum"]

_CALL: Final = 5
"""The tokens of a call, in addition to its name and its arguments; confirmed by 430 rows."""
_RESULT: Final = 7
"""The tokens of a result, in addition to `functions.NAME` and its text; confirmed by 440 rows."""
_CALL_GPT5: Final = 10
"""The tokens of a call for gpt-5, in addition to `functions.NAME` and its arguments; confirmed by 8 rows."""
_PARALLEL: Final = 20
"""The tokens of parallel calls and their results, in addition to their JSON; confirmed by 40 rows."""
_PARALLEL_GPT5: Final = 26
"""The tokens of parallel calls and their results for gpt-5, in addition to their JSON; confirmed by 5 rows."""
_TOOLS_GPT5: Final = 80
"""The tokens of the text about tools for gpt-5, in addition to the tools; confirmed by 33 rows."""
_INSTRUCTIONS_GPT5: Final = 3
"""The tokens of a heading. It is added if instructions precede the tools in the same message; confirmed by 13 rows.
"""
_FORM: Final = 2
"""The tokens of a response format, in addition to its text and its name; 0 if the request has tools.

Confirmed by 100 rows. For each earlier reply, these tokens and the tokens of the name are added once more; confirmed
by 2 rows, with names of one and two tokens.
"""


class ChatSum(PromptSum):
    """Counts the tokens of a body of Chat Completions."""

    def count(self) -> int:
        """Return the tokens of the prompt."""
        tools = self.render_tools()
        form = self._render_form()
        self.doubt_history()
        tail = "".join(
            "\n\n" + text for text in (tools and f"# Tools\n\n## functions\n\n{tools}", form) if text
        )
        sum_ = (
            self.count_frame() + self._count_tools() + (self._count_form_name() if form and not tools else 0)
        )
        for item, results in self._group_items():
            if tail and isinstance(item, MessageItem) and self._has_tail(item):
                heading = _INSTRUCTIONS_GPT5 if self.family.gpt5 and tools else 0
                sum_ += heading + self.count_message(item._replace(text=item.text + tail))
                tail = ""
            else:
                sum_ += self._count_item(item, results)
        return sum_ + (MESSAGE + self.tokens(tail.lstrip("\n")) if tail else 0)

    def _group_items(self) -> Iterator[tuple[Item, list[ResultItem]]]:
        """Yield each item with the list of the results of its parallel calls. The list is empty for all other items."""
        items = self.whole.items
        at = 0
        while at < len(items):
            item, results = items[at], list[ResultItem]()
            at += 1
            if isinstance(item, CallsItem) and len(item.calls) > 1:
                while at < len(items) and len(results) < len(item.calls):
                    result = items[at]
                    if not isinstance(result, ResultItem):
                        break
                    results.append(result)
                    at += 1
            yield item, results

    def _has_tail(self, item: MessageItem) -> bool:
        """Return whether *item* is a system message that ends with the tools and the response format."""
        first = item is self.whole.items[0]
        return item.role in ("system", "developer") and (first or not self.family.gpt5)

    def _count_tools(self) -> int:
        if not self.whole.functions:
            return 0
        if self.family.gpt5 and not self.family.before_5_4:
            self.whole.doubts.add("tools")  # no recorded request shows this case
        if self.family.gpt5:
            return _TOOLS_GPT5 + self.description_tokens
        return (0 if self.family.reasoning else -1) + self.count_choice()

    def _render_form(self) -> str:
        form = self.whole.schema
        if form is None:
            return ""
        system = [
            item for item in self.whole.items if isinstance(item, MessageItem) and item.role == "system"
        ]
        from llmcore_openai_optimized.counting.schema import render_schema

        text = render_schema(form.get("schema") or {})
        if len(system) > 1 or self.family.gpt5 or self.replies or len(text) > LONGEST_FORM:
            self.whole.doubts.add("response_format")
        return f"# Response Formats\n\n## {get_name(form)}\n\n{text}"

    def _count_form_name(self) -> int:
        form = self.whole.schema or {}
        about = form.get("description")
        name = about if isinstance(about, str) and about else get_name(form)
        return (_FORM + self.tokens(name)) * (1 + self.replies)

    def _count_item(self, item: Item, results: list[ResultItem]) -> int:
        if isinstance(item, MessageItem):
            return self.count_message(item)
        if isinstance(item, ResultItem):
            name = self.count_result_name(item)
            return _RESULT + name + self.tokens(item.text) + self.count_pictures(item.pictures)
        if len(item.calls) > 1:
            return self._count_parallel_calls(item, results)
        call = item.calls[0]
        arguments = self.tokens(normalise_arguments(call.arguments)) + self.count_name(item.name)
        if self.family.gpt5:
            return _CALL_GPT5 + self.tokens("functions." + call.name) + arguments
        return _CALL + self.tokens(call.name) + arguments

    def _count_parallel_calls(self, item: CallsItem, results: list[ResultItem]) -> int:
        from llmcore_openai_optimized.counting.parallel import render_calls, render_results

        if len(results) < len(item.calls) or any(result.pictures for result in results):
            self.whole.doubts.add("calls")
        texts = [result.text for result in results]
        sum_ = self.tokens(render_calls(item)) + self.tokens(render_results(texts, self.family))
        pictures = sum(self.count_pictures(result.pictures) for result in results)
        return (
            sum_ + pictures + self.count_name(item.name) + (_PARALLEL_GPT5 if self.family.gpt5 else _PARALLEL)
        )
