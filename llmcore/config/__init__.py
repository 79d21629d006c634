"""Read `llmcore.toml`, the environment and arguments into checked settings, each with its source."""

from typing import TYPE_CHECKING

from llmcore.config.load import load_settings
from llmcore.config.money import Budget, LedgerSettings, LimitRule, SharedLimitsSettings
from llmcore.config.sections import Cache, Llm, Price, Retry, Selected
from llmcore.config.settings import Explained, Item, Settings
from llmcore.config.sources import find_project_file, get_user_file, is_present

if TYPE_CHECKING:
    from llmcore.config.edit import set_value, unset, write_example

__all__ = [
    "Budget",
    "Cache",
    "Explained",
    "Item",
    "LedgerSettings",
    "LimitRule",
    "Llm",
    "Price",
    "Retry",
    "Selected",
    "Settings",
    "SharedLimitsSettings",
    "find_project_file",
    "get_user_file",
    "is_present",
    "load_settings",
    "set_value",
    "unset",
    "write_example",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in {"set_value", "unset", "write_example"}:
            raise AttributeError(f"module 'llmcore.config' has no attribute {name!r}")
        from llmcore.config import edit  # imported lazily, because most programs never change a configuration

        return getattr(edit, name)
