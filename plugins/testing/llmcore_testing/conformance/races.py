"""Call two instances at the same time, in one process or in two processes."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only tests import this module
from collections.abc import Sequence
from typing import Any, Final

import pytest

from llmcore.errors import LLMCoreError
from llmcore_testing.conformance.caller import Call, Caller, Script
from llmcore_testing.conformance.processes import can_fork, run_in_two_processes

__all__ = ["call_all", "needs_fork", "race_instances", "race_processes"]

_SCRIPTS: Final = 2
"""The number of threads or tasks that use each instance."""
needs_fork: Final = pytest.mark.skipif(not can_fork, reason="this system has no fork")


def call_all(calls: Sequence[Call]) -> Script:
    """Make the calls one after another; return their results. The result of a failed call is its exception."""
    results: list[Any] = []
    for call in calls:
        try:
            results.append((yield call))
        except Exception as error:  # noqa: BLE001 - the test checks the exception
            results.append(error)
    return results


def race_instances(
    first: Caller, second: Caller, mine: Sequence[Call], theirs: Sequence[Call], *, errors: bool = False
) -> list[Any]:
    """At the same time, make the calls *mine* with *first*, and the calls *theirs* with *second*. Return all results.

    With *errors*, the result of a failed call is its exception. Without *errors*, the first exception is raised.
    """
    __tracebackhide__ = True
    scripts = [
        (caller, call_all(calls[start::_SCRIPTS]))
        for caller, calls in ((first, mine), (second, theirs))
        for start in range(_SCRIPTS)
    ]
    return _join(first.race(scripts), errors=errors)


def race_processes(
    first: Caller, second: Any, probe: Call, mine: Sequence[Call], theirs: Sequence[Call]
) -> tuple[list[Any], list[str]]:
    """Make the calls *mine* with *first* in this process, while a forked process makes the calls *theirs* with *second*.

    Return the results of this process, and the reprs of the forked process's results. Before the race, the forked
    process makes the harmless call *probe*. If *probe* fails, the backend does not work in a forked process, and the
    test is skipped. Any exception during the race fails the test.
    """
    __tracebackhide__ = True
    callers: list[Caller] = []

    def run_probe() -> str:
        callers.append(Caller(second, first.variant, asyncio.Runner(), deadline_s=first.deadline_s))
        name, *args = probe
        try:
            callers[0].call(name, *args)
        except LLMCoreError as error:
            return error.message
        return ""

    def run_child() -> str:
        return "\n".join(map(repr, _join(callers[0].race([(callers[0], call_all(theirs))]))))

    def run_parent() -> list[Any]:
        return _join(first.race([(first, call_all(mine))]))

    told, found = run_in_two_processes(run_probe, run_child, run_parent, first.deadline_s)
    return found, told.split("\n")


def _join(results: Sequence[Any], *, errors: bool = False) -> list[Any]:
    """Return the results of all scripts, or raise the first exception among them."""
    for part in results:
        if isinstance(part, BaseException):
            raise part
    found = [result for part in results for result in part]
    for result in found:
        if isinstance(result, Exception) and not errors:
            raise result
    return found
