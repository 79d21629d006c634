"""Count the tokens of a body of Responses. A row is one recorded request; see `prompt_sum`."""

from __future__ import annotations

from typing import Final

from llmcore_openai_optimized.counting.parallel import render_calls
from llmcore_openai_optimized.counting.parsed_request import (
    Call,
    CallsItem,
    Item,
    MessageItem,
    ResultItem,
    get_name,
    normalise_arguments,
)
from llmcore_openai_optimized.counting.prompt_sum import LONGEST_FORM, MESSAGE, PromptSum
from llmcore_openai_optimized.counting.schema import render_schema

__all__ = ["ResponsesSum"]

_CALL: Final = 9
"""The tokens of a call and its result, in addition to the arguments, the text and two times `functions.NAME`.

Confirmed by 45 rows.
"""
_RETURNED: Final = 3
"""The additional tokens of a call that is sent with the `id` of its item; confirmed by 20 rows. For gpt-4o-mini, there
are none (14 rows).
"""
_CALL_GPT5: Final = 12
"""The tokens of a call for gpt-5, in addition to `functions.NAME` and its arguments; confirmed by 15 rows.

Before gpt-5.4, a call without an `id` has three tokens less (3 calls).
"""
_RESULT_GPT5: Final = 6
"""The tokens of a result for gpt-5, in addition to `functions.NAME` and its text; confirmed by the same 15 rows."""
_PARALLEL_GPT5: Final = 16
"""The tokens of parallel calls for gpt-5, in addition to their JSON; confirmed by 2 rows, with two and four calls."""
_TOOLS_GPT5: Final = 4
"""The tokens of the introduction of tools for gpt-5; confirmed by 130 rows, some of them from other recordings."""
_REQUIRED: Final = 9
"""The tokens of `tool_choice="required"`; confirmed by 3 rows. After instructions, there is one token less (1 row)."""
_FORM: Final = 3
"""The tokens of a response format, in addition to its text and its name.

It is one token less for reasoning models. Confirmed by 40 rows.
"""


class ResponsesSum(PromptSum):
    """Counts the tokens of a body of Responses."""

    def count(self) -> int:
        """Return the tokens of the prompt."""
        self.doubt_history()
        return (
            self.count_frame()
            + self._count_tools()
            + self._count_form()
            + sum(map(self._count_item, self.whole.items))
        )

    def _count_tools(self) -> int:
        space = self.render_tools()
        if not space:
            return 0
        sum_ = MESSAGE + self.tokens(space)
        if self.family.reasoning and not self.family.gpt5:
            self.whole.doubts.add("tools")  # no recording exists for o3 and o4
        if self.family.gpt5:
            return sum_ + _TOOLS_GPT5 + self.description_tokens
        return sum_ + (0 if self.family.reasoning else -1) + self._count_choice() + self.count_choice()

    def _count_choice(self) -> int:
        if self.whole.choice not in ("required", "none"):
            return 0
        self.whole.doubts.add("tool_choice")
        if self.whole.choice == "none" or any(isinstance(item, ResultItem) for item in self.whole.items):
            return 0
        return _REQUIRED

    def _count_form(self) -> int:
        form = self.whole.schema
        if form is None:
            return 0
        text = render_schema(form.get("schema") or {})
        if len(text) > LONGEST_FORM:
            self.whole.doubts.add("response_format")
        sum_ = MESSAGE + _FORM + self.tokens(text) + self.tokens(get_name(form))
        return sum_ - (1 if self.family.reasoning else 0)

    def _count_item(self, item: Item) -> int:
        if isinstance(item, MessageItem):
            return self.count_message(item)
        if isinstance(item, ResultItem):
            name = self.count_result_name(item)
            sum_ = name + self.tokens(item.text) + self.count_pictures(item.pictures)
            return sum_ + (_RESULT_GPT5 if self.family.gpt5 else 0)
        if self.family.gpt5 and len(item.calls) > 1:
            return _PARALLEL_GPT5 + self.tokens(render_calls(item))
        return self._count_calls(item)

    def _count_calls(self, item: CallsItem) -> int:
        if not self.family.gpt5 and any(call.returned for call in item.calls):
            # A call that `tool_choice` forced has three tokens less, but a later request does not show the choice.
            self.whole.doubts.add("calls")
        frames = sum(self._count_frame(call) for call in item.calls)
        texts = (
            self.tokens("functions." + call.name) + self.tokens(normalise_arguments(call.arguments))
            for call in item.calls
        )
        return frames + sum(texts)

    def _count_frame(self, call: Call) -> int:
        family = self.family
        if not family.gpt5:
            return _CALL + (_RETURNED if call.returned and not family.name.startswith("gpt-4o-mini") else 0)
        return _CALL_GPT5 - (_RETURNED if family.before_5_4 and not call.returned else 0)
