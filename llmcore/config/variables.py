"""The environment variables that llmcore reads, and a warning for variables with similar names.

For example, `LLMCORE_BUDGET__LIMIT` is a misspelt `LLMCORE__BUDGET__LIMIT`. If llmcore ignored this variable silently,
a program would run without its budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmcore.config.keys import find_nearest
from llmcore.config.layers import SETTING_PREFIX, Layer, get_variable_name, iterate_leaves
from llmcore.config.schema import BUDGET_KEYS, LIMIT_KEYS, SECTIONS
from llmcore.config.tables import list_table_keys, list_table_names
from llmcore.errors import ConfigError

__all__ = ["READ", "find_unread"]

READ: Final[Mapping[str, str]] = {
    "LLMCORE_CONFIG": "the configuration file",
    "LLMCORE_PLUGINS": "the plugins that may be loaded",
    "LLMCORE_PROFILE": "the profile of the configuration",
    "LLMCORE_SIMULATOR_LEDGER": "the ledger if the configuration names none; a running Simulator sets it",
    "LLMCORE_TRACEBACK": "1: tracebacks of errors are complete, and the command line shows them",
    "LLMCORE_AIMOCK": "tests: the path of another vendor's simulator",
    "LLMCORE_BATCH_ROUNDS": "tests: the number of rounds of random faults in queued batches",
    "LLMCORE_AXE": "tests: the path of axe-core, which checks the accessibility of the dashboard",
    "LLMCORE_BILLED_CALLS": "tests: the number of calls on a bill that is compared with a ledger",
    "LLMCORE_CANCELS": "tests: the number of cancelled calls",
    "LLMCORE_FUZZ": "tests: the number of random texts for each voice",
    "LLMCORE_LEASE_ROUNDS": "tests: how often processes that hold budget leases are killed and stopped",
    "LLMCORE_LEDGERS": "tests: the number of random ledgers whose reports are compared",
    "LLMCORE_GATEWAY_REQUESTS": "tests: the number of requests during restarts of the gateway",
    "LLMCORE_KILLS": "tests: the number of killed writers",
    "LLMCORE_NO_SKIPS": "tests: a skipped test is a failure",
    "LLMCORE_PICTURES": "tests: the folder for pictures of the dashboard",
    "LLMCORE_PROBE": "`llmcore doctor`: the file to which the process that loads a plugin writes its result",
    "LLMCORE_SOAK": "tests: seconds that the soak test runs",
}
"""The variables that are not settings -> their meaning. Settings are LLMCORE__SECTION__KEY."""

_FOR_USERS: Final = ("LLMCORE_CONFIG", "LLMCORE_PLUGINS", "LLMCORE_PROFILE", "LLMCORE_TRACEBACK")
_PREFIX: Final = "LLMCORE_"
_REFERENCE: Final = "env:"


def find_unread(env: Mapping[str, str], layers: Sequence[Layer]) -> list[ConfigError]:
    """Return one error for each variable that starts with LLMCORE_ and is not read.

    An empty variable counts as not set. A variable counts as read if a reference `env:NAME` in *layers* names it.
    """
    suspects = [
        name
        for name, value in env.items()
        if value
        and name.upper().startswith(_PREFIX)
        and not name.upper().startswith(SETTING_PREFIX)
        and name not in READ
    ]
    if not suspects:
        return []
    referenced = {name for layer in layers for name in _iterate_references(layer.tree)}
    return [_make_error(name) for name in sorted(suspects) if name not in referenced]


def _iterate_references(tree: Any) -> Iterator[str]:
    for _, value in iterate_leaves(tree):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.startswith(_REFERENCE):
                yield text.removeprefix(_REFERENCE)


def _make_error(name: str) -> ConfigError:
    suggestion = _suggest(name)
    rename = f'export {suggestion}="${name}"; ' if suggestion else ""
    return ConfigError(
        f"llmcore does not read the variable {name}",
        code="LC102",
        where=name,
        expected=f"{SETTING_PREFIX}SECTION__KEY for a setting, or one of {', '.join(_FOR_USERS)}",
        suggestion=suggestion,
        fix=f"{rename}unset {name}",
    )


def _suggest(name: str) -> str | None:
    """Return the variable most similar to *name*, ignoring underscores; None if none is similar."""
    known = {_squeeze(variable): variable for variable in (*_iterate_variables(), *_FOR_USERS)}
    found = find_nearest(_squeeze(name), known)
    return known[found] if found else None


def _squeeze(name: str) -> str:
    return name[len(_PREFIX) :].lower().replace("_", "")


def _iterate_variables() -> Iterator[str]:
    for section, keys in SECTIONS.items():
        for key in keys:
            yield get_variable_name((section, key))
    for table in list_table_names():
        for key in list_table_keys(table):
            yield get_variable_name((table, key))
    for section, keys in (("budget", BUDGET_KEYS), ("limits", LIMIT_KEYS)):
        for key in keys:
            yield get_variable_name((section, key))
