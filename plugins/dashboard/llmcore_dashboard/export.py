"""The page as one file, for mail and build artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcore_dashboard.page import render_page
from llmcore_dashboard.report import read_report
from llmcore_dashboard.view import View

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["render_file"]


def render_file(core: Core, view: View | None = None) -> str:
    """Return the page of *view* as one document without scripts, forms and links.

    Raises:
        ViewError: The view has a zone or a day that does not exist, or a range that is too long.
        LedgerError: The ledger cannot be read.
    """
    return render_page(read_report(core, view or View()), is_file=True)
