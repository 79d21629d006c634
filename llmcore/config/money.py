"""Read and check the budgets, the rate limits and the ledger of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.config import references
from llmcore.config.keys import Path, format_key
from llmcore.config.layers import Layer, get_tables
from llmcore.config.mask import is_reference
from llmcore.config.paths import resolve_path
from llmcore.config.readers import is_web_address
from llmcore.config.schema import BUDGETS_KEYS, LIMIT_KEYS, SECTIONS, SHARED_KEYS, SHARED_LIMITS
from llmcore.config.sources import get_state_file
from llmcore.errors import ConfigError
from llmcore.types import Secret

__all__ = [
    "Budget",
    "BudgetPlace",
    "LedgerSettings",
    "LimitRule",
    "SharedLimitsSettings",
    "check_budgets",
    "read_budgets",
    "read_ledger",
    "read_limits",
    "read_shared_limits",
]

_SCOPES: Final = ("model", "tag", "user")
_ADDRESSES: Final = frozenset({"alert_slack_url", "alert_url"})

Owner = Callable[[Path], Layer]
"""Returns the layer that defines a key."""
_SIMULATOR_LEDGER: Final = "LLMCORE_SIMULATOR_LEDGER"


class BudgetPlace(NamedTuple):
    """The place where a budget is configured. The errors of refused calls show this place."""

    path: Path
    layer: Layer

    @property
    def where(self) -> str | None:
        """The place that sets the limit: a position in a file, an environment variable, or a key of a dict."""
        return self.layer.find_position((*self.path, "limit"), "value")

    @property
    def excerpt(self) -> str | None:
        """The line of the limit, and a second line that underlines the limit."""
        return self.layer.format_excerpt((*self.path, "limit"), "value", secret=False)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """[budget], or an entry of [[budgets]].

    The budget applies to calls that match all of `model`, `tag` and `user`.
    """

    limit: Decimal
    """The limit in `unit`, 0 or more."""
    unit: str = "USD"
    """USD, or characters of synthesized text."""
    per: str = "total"
    """The period of the budget: "day" or "month", in UTC, or "total"."""
    on_exceed: str = "refuse"
    """What happens to a call that might exceed the budget: "refuse" or "warn"."""
    unknown_price: str = "refuse"
    """What happens to a call with an unknown price: "refuse" or "allow"."""
    alert_at: tuple[float, ...] = ()
    """Fractions of the limit, in ascending order."""
    alert_faster_than: float | None = None
    """The factor by which a day may cost more than an average day; None for no such alert."""
    alert_url: Secret | None = None
    alert_slack_url: Secret | None = None
    alert_email: tuple[str, ...] = ()
    alert_command: tuple[str, ...] = ()
    """A program and its arguments."""
    model: str | None = None
    """"provider:model", or "provider:" for all models of a provider; None for all models."""
    tag: str | None = None
    user: str | None = None
    place: BudgetPlace | None = None

    @property
    def name(self) -> str:
        """The name for display: "day", "month openai:gpt-6-sol", "total tag=nightly"."""
        parts = [self.per]
        if self.unit != "USD":
            parts.append(self.unit)
        if self.model is not None:
            parts.append(self.model)
        parts += [
            f"{key}={value}" for key, value in (("tag", self.tag), ("user", self.user)) if value is not None
        ]
        return " ".join(parts)


class LimitRule(msgspec.Struct, frozen=True):
    """[limits], or [limits.NAME] for one provider or model; None means unlimited."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None


class SharedLimitsSettings(msgspec.Struct, frozen=True):
    """`[limits] shared`, or [limits.shared]."""

    name: str
    """The name of a cache provider or instance."""
    path: Path
    """The path of the setting that names the cache, for errors."""
    processes: int = 1
    """The number of processes to assume until the store reports the number."""
    lease_s: float = 20.0
    """Seconds after which the slots of a process that was killed become free."""


class LedgerSettings(msgspec.Struct, frozen=True):
    """The section [ledger]."""

    path: str | None
    """The absolute path; None if no path is configured and the user has no home directory."""
    durability: str
    """"normal", or "full", which survives a power cut."""
    enabled: bool
    layer: Layer | None = None
    """The layer that sets `enabled`. If the ledger is off and a call needs the ledger, the error names this layer."""
    format_set_line: Callable[[Path, str], str] | None = None
    """See `Settings.format_set_line`."""
    provider: str = "sqlite"

    @property
    def lacks_home(self) -> bool:
        """True if the ledger is a file whose path is unknown, because the user has no home directory."""
        return self.provider == "sqlite" and self.path is None

    def make_fix(self, name: str, value: str) -> str:
        """Return the line to paste that sets `ledger.NAME` to *value*."""
        if self.format_set_line is None:
            return f"llmcore config set ledger.{name} {value}"
        return self.format_set_line(("ledger", name), value)


class _Entry(NamedTuple):
    path: Path
    table: Mapping[str, Any]


def _iterate_entries(tree: Mapping[str, Any]) -> Iterator[_Entry]:
    budget = tree.get("budget")
    if isinstance(budget, Mapping):
        yield _Entry(("budget",), budget)
    for index, table in get_tables(tree.get("budgets")).items():
        yield _Entry(("budgets", index), table)


def check_budgets(tree: Mapping[str, Any], owner: Owner) -> list[ConfigError]:
    """Return the faults of the merged budgets: a missing limit or mail server, or two budgets for the same calls and period."""
    faults: list[ConfigError] = []
    seen: dict[tuple[Any, ...], Path] = {}
    for path, table in _iterate_entries(tree):
        layer = owner(path)
        if not set(table) <= BUDGETS_KEYS.keys():
            continue  # an unknown key is already reported
        if "alert_email" in table and not _has_mail_server(tree):
            faults.append(_make_missing_server_fault(layer, path))
        if "limit" not in table:
            faults.append(_make_missing_limit_fault(layer, path))
            continue
        kind = (_read_unit(table["limit"]), table.get("per", "total"), *(table.get(key) for key in _SCOPES))
        if not all(part is None or isinstance(part, str) for part in kind):
            continue  # the check of the layer has already reported this error
        if kind in seen:
            faults.append(_make_duplicate_fault(layer, path, seen[kind], owner(seen[kind])))
        seen.setdefault(kind, path)
    return faults


def _read_unit(limit: Any) -> str | None:
    try:
        unit: str = BUDGETS_KEYS["limit"].read(limit)[1]
    except (TypeError, ValueError):  # the check of the layer has already reported this error
        return None
    return unit


def _make_missing_limit_fault(layer: Layer, path: Path) -> ConfigError:
    reader = BUDGETS_KEYS["limit"]
    return layer.make_error(
        path,
        f"`limit` is missing in [{format_key(path)}]",
        code="LC112",
        at="key",
        expected=reader.expected,
        fix=layer.format_set_fix((*path, "limit"), reader.example),
    )


def _has_mail_server(tree: Mapping[str, Any]) -> bool:
    smtp = tree.get("smtp")
    return isinstance(smtp, Mapping) and "host" in smtp


def _make_missing_server_fault(layer: Layer, path: Path) -> ConfigError:
    return layer.make_error(
        (*path, "alert_email"),
        f"`alert_email` in [{format_key(path)}] needs a mail server, but `host` is missing in [smtp]",
        code="LC112",
        at="key",
        expected='the name of a mail server, such as "smtp.example.com"',
        fix=layer.format_set_fix(("smtp", "host"), "smtp.example.com"),
    )


def _make_duplicate_fault(layer: Layer, path: Path, first: Path, owner: Layer) -> ConfigError:
    return layer.make_error(
        path,
        f"[{format_key(path)}] is a second budget for the same calls and period as [{format_key(first)}]",
        code="LC113",
        at="key",
        expected="budgets that differ in `per`, `model`, `tag`, `user` or the unit of `limit`",
        fix=layer.format_unset_fix(path),
        notes=(f"[{format_key(first)}] is at {owner.find_position(first)}",),
    )


def read_budgets(
    tree: Mapping[str, Any], owner: Owner, env: Mapping[str, str]
) -> tuple[tuple[Budget, ...], list[ConfigError]]:
    """Resolve the references in the budgets. Return the budgets, [budget] first, and the errors of references."""
    faults: list[ConfigError] = []
    budgets = []
    for path, table in _iterate_entries(tree):
        values = {key: BUDGETS_KEYS[key].read(value) for key, value in table.items()}
        values["limit"], values["unit"] = values["limit"]
        for key in _ADDRESSES & values.keys():
            values[key] = _read_address((*path, key), values[key], owner, env, faults)
        budgets.append(Budget(**values, place=BudgetPlace(path, owner(path))))
    return tuple(budgets), faults


def _read_address(
    path: Path, value: str | Secret, owner: Owner, env: Mapping[str, str], faults: list[ConfigError]
) -> Secret | None:
    if isinstance(value, Secret) or not is_reference(value):
        return value if isinstance(value, Secret) else Secret(value)
    layer = owner(path)
    try:
        found = references.resolve(value, env=env, folder=layer.folder)
    except references.Unresolved as error:
        message = f"no `{path[-1]}` for [{format_key(path[:-1])}]: {error.message}"
        faults.append(
            layer.make_error(
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
        layer.make_error(
            path,
            f"`{path[-1]}` of [{format_key(path[:-1])}] must refer to a URL, got something else",
            code="LC104",
            expected="a URL that starts with http:// or https://",
        )
    )
    return None


def read_limits(tree: Mapping[str, Any]) -> dict[str, LimitRule]:
    """Return the rate limits by "provider" or "provider:model". The key "" has the default for every provider."""
    given = tree.get("limits", {})
    tables = {name: table for name, table in given.items() if name not in SECTIONS["limits"]}
    common = {name: value for name, value in given.items() if name in LIMIT_KEYS}
    limits = {
        name: LimitRule(**{key: LIMIT_KEYS[key].read(value) for key, value in table.items()})
        for name, table in {"": common, **tables}.items()
    }
    return {name: limit for name, limit in limits.items() if limit != LimitRule()}


def read_shared_limits(tree: Mapping[str, Any]) -> SharedLimitsSettings | None:
    """Return the settings of the cache that counts for all processes; None if each process counts for itself."""
    given = tree.get("limits", {}).get("shared")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return SharedLimitsSettings(SECTIONS["limits"]["shared"].read(given), SHARED_LIMITS)
    name = SHARED_KEYS["use"].read(given.get("use", "redis"))
    path = (*SHARED_LIMITS, "use") if "use" in given else SHARED_LIMITS
    return SharedLimitsSettings(
        name,
        path,
        processes=SHARED_KEYS["processes"].read(given.get("processes", 1)),
        lease_s=SHARED_KEYS["lease"].read(given.get("lease", "20s")),
    )


def read_ledger(tree: Mapping[str, Any], owner: Owner, env: Mapping[str, str]) -> LedgerSettings:
    """Return [ledger]. A relative path is resolved from the folder of the configuration file that contains the path.

    If no path is set, the ledger is that of a simulator that runs in this process, or else a file in the user's state
    folder.
    """
    values = {
        key: reader.read(tree["ledger"][key])
        for key, reader in SECTIONS["ledger"].items()
        if key in tree["ledger"]
    }
    path: FilePath | None
    if "path" in values:
        path = resolve_path(values["path"], env=env, folder=owner(("ledger", "path")).folder or FilePath())
    elif simulated := env.get(_SIMULATOR_LEDGER):
        path = FilePath(simulated)
    else:
        path = get_state_file(env, "ledger.sqlite3")
    layer = owner(("ledger", "enabled"))
    return LedgerSettings(
        path=None if path is None else str(path),
        durability=values["durability"],
        enabled=values["enabled"],
        layer=layer,
        provider=values["provider"],
    )
