"""Translate requests between Chat Completions, the Responses API and the Messages API.

Each API has a reader, which returns the neutral form (a `NeutralRequest`), and a writer. If a field has no counterpart in the
other API, the error names the field; no field is dropped.
"""

from __future__ import annotations

from llmcore.support.translation.neutral import NeutralRequest
from llmcore.support.translation.translate import translate_body

__all__ = ["NeutralRequest", "translate_body"]
