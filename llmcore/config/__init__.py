"""Reads `llmcore.toml`, the environment and arguments into checked settings, each with its source."""

from llmcore.config.edit import set_value, unset, write_example
from llmcore.config.load import load_settings
from llmcore.config.settings import Cache, Explained, Item, Llm, Price, Retry, Selected, Settings
from llmcore.config.sources import project_file, user_file

__all__ = [
    "Cache",
    "Explained",
    "Item",
    "Llm",
    "Price",
    "Retry",
    "Selected",
    "Settings",
    "load_settings",
    "project_file",
    "set_value",
    "unset",
    "user_file",
    "write_example",
]
