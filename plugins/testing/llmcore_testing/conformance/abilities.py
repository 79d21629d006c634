"""The base of the kits that test optional abilities."""

from __future__ import annotations

from llmcore_testing.conformance.base import Conformance
from llmcore_testing.conformance.optional_tests import for_ability

__all__ = ["Abilities", "for_ability"]


class Abilities(Conformance):
    """Tests that `lacks` names no ability that the backend has."""

    def test_abilities_in_lacks_are_missing(self) -> None:
        there = [name for name in self.lacks if hasattr(self.caller.provider, name)]
        assert there == [], f"remove from `lacks` the abilities that the backend has: {', '.join(there)}"
