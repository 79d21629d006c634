"""The tokens of a body of Responses."""

from __future__ import annotations

from typing import Final

from llmcore_openai_optimized.counting.asked import Call, Called, Item, Result, Said, named, retold
from llmcore_openai_optimized.counting.parallel import calls_text
from llmcore_openai_optimized.counting.schema import schema_text
from llmcore_openai_optimized.counting.sums import MESSAGE, Sum

__all__ = ["ResponsesSum"]

_CALL: Final = 9
"""A call and its result, beside arguments and text and twice `functions.name`: 45 rows."""
_RETURNED: Final = 3
"""More for a call that comes back with its `id`, which tells its kind: 20 rows; not of gpt-4o-mini, 14 rows."""
_CALL_GPT5: Final = 12
"""Of gpt-5: 15 rows. Without an `id` before gpt-5.4 three less: 3 calls."""
_RESULT_GPT5: Final = 6
"""Of gpt-5: the same rows."""
_PARALLEL_GPT5: Final = 16
"""Calls made at once by gpt-5, beside their JSON: two and four calls, 2 rows."""
_TOOLS_GPT5: Final = 4
"""What introduces the tools of gpt-5: 130 rows, those of other recordings included."""
_REQUIRED: Final = 9
"""A call that must be made: 3 rows; one less after instructions, 1 row."""
_FORM: Final = 3
"""A form for the answer, beside its text and its name; one less for reasoning models: 40 rows."""


class ResponsesSum(Sum):
    """Responses."""

    def total(self) -> int:
        """Return the tokens of the prompt."""
        return self.around() + self._tools() + self._form() + sum(map(self._item, self.whole.items))

    def _tools(self) -> int:
        space = self.namespace()
        if not space:
            return 0
        sum_ = MESSAGE + self.tokens(space)
        if self.family.gpt5:
            return sum_ + _TOOLS_GPT5 + self.described
        return sum_ + (0 if self.family.reasoning else -1) + self._choice() + self.named_choice()

    def _choice(self) -> int:
        if self.whole.choice not in ("required", "none"):
            return 0
        self.whole.doubts.add("tool_choice")
        if self.whole.choice == "none" or any(isinstance(item, Result) for item in self.whole.items):
            return 0
        return _REQUIRED

    def _form(self) -> int:
        form = self.whole.schema
        if form is None:
            return 0
        text = schema_text(form.get("schema") or {})
        sum_ = MESSAGE + _FORM + self.tokens(text) + self.tokens(named(form))
        return sum_ - (1 if self.family.reasoning else 0)

    def _item(self, item: Item) -> int:
        if isinstance(item, Said):
            return self.said(item)
        if isinstance(item, Result):
            name = self.result_name(item)
            sum_ = name + self.tokens(item.text) + self.pictures(item.pictures)
            return sum_ + (_RESULT_GPT5 if self.family.gpt5 else 0)
        if self.family.gpt5 and len(item.calls) > 1:
            return _PARALLEL_GPT5 + self.tokens(calls_text(item))
        return self._calls(item)

    def _calls(self, item: Called) -> int:
        if not self.family.gpt5 and any(call.returned for call in item.calls):
            self.whole.doubts.add("calls")  # one that a named choice forced costs the three tokens less
        frames = sum(self._frame(call) for call in item.calls)
        texts = (
            self.tokens("functions." + call.name) + self.tokens(retold(call.arguments)) for call in item.calls
        )
        return frames + sum(texts)

    def _frame(self, call: Call) -> int:
        family = self.family
        if not family.gpt5:
            return _CALL + (_RETURNED if call.returned and not family.name.startswith("gpt-4o-mini") else 0)
        return _CALL_GPT5 - (_RETURNED if family.before_5_4 and not call.returned else 0)
