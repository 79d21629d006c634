"""Find arguments in docstrings that the function does not have, and sections that cannot be parsed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import griffe

__all__ = ["find_docstring_faults"]

_PARSER_LOGGER: Final = "griffe"
_NO_FAULT: Final = "No type or annotation for"
"""The parser says this too of a parameter that does not exist; mypy finds missing annotations."""


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if _NO_FAULT not in message:
            self.messages.append(message)


def find_docstring_faults(folder: Path, package: str) -> list[str]:
    """Return one line for each fault in the docstrings of *package*, which is in *folder*: `FILE:LINE: MESSAGE`."""
    loader = griffe.GriffeLoader(search_paths=[folder], docstring_parser="google")
    collector, logger = _Collector(), logging.getLogger(_PARSER_LOGGER)
    logger.addHandler(collector)
    try:
        _parse(loader.load(package))
    finally:
        logger.removeHandler(collector)
    return collector.messages


def _parse(owner: griffe.Object | griffe.Alias) -> None:
    for member in owner.members.values():
        if member.is_alias:
            continue
        if member.docstring is not None:
            _ = member.docstring.parsed  # logs the faults
        if member.is_module or member.is_class:
            _parse(member)
