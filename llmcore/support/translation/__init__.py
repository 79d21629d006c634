"""Translate requests between Chat Completions, the Responses API and the Messages API.

Each API has a reader, which returns a `Conversation`, the neutral form, and a writer. A field without a counterpart in the other
API is refused by name, and never dropped.
"""

from __future__ import annotations

from llmcore.support.translation.neutral import Conversation
from llmcore.support.translation.translate import translate_body

__all__ = ["Conversation", "translate_body"]
