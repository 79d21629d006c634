"""Upper bounds of a chat's answer, read from its parameters.

The bounds are never too small, even if a server reads parameters leniently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

__all__ = ["OUTPUT_LIMITS", "get_answer_count", "get_output_limit", "get_thinking_limit"]

OUTPUT_LIMITS: Final = (
    "max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens", "n_predict", "num_predict",
)  # fmt: skip
"""The names that various servers use for the parameter that limits the length of an answer."""
_COUNTS: Final = ("n", "best_of", "num_return_sequences", "candidate_count")
_THINKING: Final = (("thinking_budget", None), ("thinking", "budget_tokens"), ("reasoning", "max_tokens"))
"""Limits of the reasoning in an answer, which some servers count separately from `max_tokens`."""


def get_output_limit(parameters: Mapping[str, Any]) -> int | None:
    """Return the maximum number of tokens of one answer; None if there is no limit.

    If several parameters set a limit, return the largest limit, because each server reads a different parameter. A
    fraction is rounded up. A value that is not a positive number means "no limit", as -1 does on some servers.
    """
    most = 0
    for name in OUTPUT_LIMITS:
        value = parameters.get(name)
        if value is None:
            continue
        limit = _parse_whole(value)
        if limit is None or limit <= 0:
            return None
        most = max(most, limit)
    return most + get_thinking_limit(parameters) if most else None


def get_thinking_limit(parameters: Mapping[str, Any]) -> int:
    """Return the reasoning tokens that an answer may have beyond its limit; 0 if no parameter sets such a limit."""
    most = 0
    for name, inner in _THINKING:
        value = parameters.get(name)
        if value is None:
            continue
        if inner is not None:
            value = value.get(inner) if isinstance(value, Mapping) else None
        most = max(most, _parse_whole(value) or 0)
    return most


def get_answer_count(parameters: Mapping[str, Any]) -> int:
    """Return the maximum number of answers. A value that is not a number counts as 1, because every server refuses it."""
    most = 1
    for name in _COUNTS:
        if name in parameters:
            most = max(most, _parse_whole(parameters[name]) or 1)
    return most


def _parse_whole(value: Any) -> int | None:
    """Return *value* as a lenient server would read it, rounded up to a whole number; None if it is not a number."""
    if type(value) is int:  # the common case, as fast as possible: each call reads several parameters
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except ArithmeticError:
            return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal) and abs(float(value)) < 2.0**63:  # the comparison is false for NaN
        return math.ceil(value)
    return None
