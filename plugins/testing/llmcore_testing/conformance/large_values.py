"""Compares large values in an assertion without pytest's description of each difference."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["are_equal"]


def are_equal(found: bytes | Sequence[str], expected: bytes | Sequence[str]) -> bool:
    """Return whether the values are equal.

    pytest describes a failed `found == expected` line by line if the environment variable `CI` is set. For a few
    megabytes, this description takes hours. pytest does not describe values that were compared inside of a
    function.
    """
    return found == expected
