"""What a configuration says of money: budgets, rate limits and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.config import references
from llmcore.config.keys import Path, dotted
from llmcore.config.layers import Layer, tables_in
from llmcore.config.mask import is_reference
from llmcore.config.paths import located
from llmcore.config.readers import is_web_address
from llmcore.config.schema import BUDGETS_KEYS, LIMIT_KEYS, SECTIONS
from llmcore.config.sources import state_file
from llmcore.errors import ConfigError
from llmcore.types import Secret

__all__ = [
    "Budget",
    "LedgerSettings",
    "Limit",
    "check_budgets",
    "read_budgets",
    "read_ledger",
    "read_limits",
]

_SCOPES: Final = ("model", "tag", "user")

Owner = Callable[[Path], Layer]
"""Tells which layer a key comes from."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """[budget], or one of the [[budgets]]; it holds for the calls that fit all of `model`, `tag` and `user`."""

    limit: Decimal
    """In `unit`, 0 or more."""
    unit: str = "USD"
    """USD, or characters: that are spoken."""
    per: str = "total"
    """day, month (both by UTC) or total."""
    on_exceed: str = "refuse"
    """refuse or warn."""
    unknown_price: str = "refuse"
    """refuse or allow: what a call does whose price nobody knows."""
    alert_at: tuple[float, ...] = ()
    """Fractions of the limit, rising."""
    alert_url: Secret | None = None
    alert_command: tuple[str, ...] = ()
    """A program and its arguments."""
    model: str | None = None
    """"provider:model", or "provider:" for all models of one; None is all."""
    tag: str | None = None
    user: str | None = None

    @property
    def name(self) -> str:
        """What tells people which one it is: "day", "month openai:gpt-6-sol", "total tag=nightly"."""
        parts = [self.per]
        if self.unit != "USD":
            parts.append(self.unit)
        if self.model is not None:
            parts.append(self.model)
        parts += [
            f"{key}={value}" for key, value in (("tag", self.tag), ("user", self.user)) if value is not None
        ]
        return " ".join(parts)


class Limit(msgspec.Struct, frozen=True):
    """[limits], or [limits.NAME] of one provider or model; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


class LedgerSettings(msgspec.Struct, frozen=True):
    """[ledger]."""

    path: str | None
    """Absolute; None where no home is known to put it in."""
    durability: str
    """normal or full."""
    enabled: bool


class _Entry(NamedTuple):
    path: Path
    table: Mapping[str, Any]


def _entries(tree: Mapping[str, Any]) -> Iterator[_Entry]:
    budget = tree.get("budget")
    if isinstance(budget, Mapping):
        yield _Entry(("budget",), budget)
    for index, table in tables_in(tree.get("budgets")).items():
        yield _Entry(("budgets", index), table)


def check_budgets(tree: Mapping[str, Any], owner: Owner) -> list[ConfigError]:
    """Return what is wrong with the budgets of all layers together: no limit, or two of the same kind."""
    faults: list[ConfigError] = []
    seen: dict[tuple[Any, ...], Path] = {}
    for path, table in _entries(tree):
        layer = owner(path)
        if not set(table) <= BUDGETS_KEYS.keys():
            continue  # a typing mistake is one fault, not two
        if "limit" not in table:
            faults.append(_without_limit(layer, path))
            continue
        kind = (_unit(table["limit"]), table.get("per", "total"), *(table.get(key) for key in _SCOPES))
        if not all(part is None or isinstance(part, str) for part in kind):
            continue  # told already, by the check of its layer
        if kind in seen:
            faults.append(_second(layer, path, seen[kind], owner(seen[kind])))
        seen.setdefault(kind, path)
    return faults


def _unit(limit: Any) -> str | None:
    try:
        unit: str = BUDGETS_KEYS["limit"].read(limit)[1]
    except (TypeError, ValueError):  # told already, by the check of its layer
        return None
    return unit


def _without_limit(layer: Layer, path: Path) -> ConfigError:
    reader = BUDGETS_KEYS["limit"]
    return layer.fault(
        path,
        f"`limit` is missing in [{dotted(path)}]",
        code="LC112",
        at="key",
        expected=reader.expected,
        fix=layer.to_set((*path, "limit"), reader.example),
    )


def _second(layer: Layer, path: Path, first: Path, owner: Layer) -> ConfigError:
    return layer.fault(
        path,
        f"[{dotted(path)}] is a second budget for the same calls and period as [{dotted(first)}]",
        code="LC113",
        at="key",
        expected="budgets that differ in per, model, tag, user, or what they count",
        fix=layer.to_unset(path),
        notes=(f"[{dotted(first)}] stands at {owner.where(first)}",),
    )


def read_budgets(
    tree: Mapping[str, Any], owner: Owner, env: Mapping[str, str]
) -> tuple[tuple[Budget, ...], list[ConfigError]]:
    """Return the budgets, [budget] first, their references followed; and those that lead nowhere."""
    faults: list[ConfigError] = []
    budgets = []
    for path, table in _entries(tree):
        values = {key: BUDGETS_KEYS[key].read(value) for key, value in table.items()}
        values["limit"], values["unit"] = values["limit"]
        if "alert_url" in values:
            values["alert_url"] = _address((*path, "alert_url"), values["alert_url"], owner, env, faults)
        budgets.append(Budget(**values))
    return tuple(budgets), faults


def _address(
    path: Path, value: str | Secret, owner: Owner, env: Mapping[str, str], faults: list[ConfigError]
) -> Secret | None:
    if isinstance(value, Secret) or not is_reference(value):
        return value if isinstance(value, Secret) else Secret(value)
    layer = owner(path)
    try:
        found = references.resolve(value, env=env, folder=layer.folder)
    except references.Unresolved as error:
        message = f"no `{path[-1]}` for [{dotted(path[:-1])}]: {error.message}"
        faults.append(
            layer.fault(
                path,
                message,
                code=error.code,
                expected=error.expected,
                suggestion=error.suggestion,
                fix=error.fix,
            )
        )
        return None
    if is_web_address(found):
        return Secret(found)
    faults.append(
        layer.fault(
            path,
            f"`{path[-1]}` of [{dotted(path[:-1])}] leads to what is no address",
            code="LC104",
            expected="an address that begins with http:// or https://",
        )
    )
    return None


def read_limits(tree: Mapping[str, Any]) -> dict[str, Limit]:
    """Return the rate limits by "provider" or "provider:model"; the common one of every provider is ""."""
    given = tree.get("limits", {})
    tables = {name: table for name, table in given.items() if name not in LIMIT_KEYS}
    common = {name: value for name, value in given.items() if name in LIMIT_KEYS}
    limits = {
        name: Limit(**{key: LIMIT_KEYS[key].read(value) for key, value in table.items()})
        for name, table in {"": common, **tables}.items()
    }
    return {name: limit for name, limit in limits.items() if limit != Limit()}


def read_ledger(tree: Mapping[str, Any], owner: Owner, env: Mapping[str, str]) -> LedgerSettings:
    """Return [ledger]; a relative path counts from the folder of the file that says it."""
    values = {
        key: reader.read(tree["ledger"][key])
        for key, reader in SECTIONS["ledger"].items()
        if key in tree["ledger"]
    }
    path: FilePath | None
    if "path" in values:
        path = located(values["path"], env=env, folder=owner(("ledger", "path")).folder or FilePath())
    else:
        path = state_file(env, "ledger.sqlite3")
    return LedgerSettings(None if path is None else str(path), values["durability"], values["enabled"])
