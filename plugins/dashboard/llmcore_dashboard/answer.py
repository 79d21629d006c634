"""Answer one request for the page.

The gateway and the command `llmcore dashboard` share this code.
"""

from __future__ import annotations

from collections.abc import Mapping
from logging import getLogger
from typing import TYPE_CHECKING, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore_dashboard.page import CSP, render_fault, render_page
from llmcore_dashboard.report import read_report
from llmcore_dashboard.sections import render_main
from llmcore_dashboard.view import ViewError, parse_view

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["SECURITY_HEADERS", "PageAnswer", "answer_request"]

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""The headers of every answer."""


_log: Final = getLogger(__name__)


class PageAnswer(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = SECURITY_HEADERS
    content_type: str = "text/html; charset=utf-8"


def answer_request(
    core: Core, query: str, headers: Mapping[str, str], *, user: str | None = None
) -> PageAnswer:
    """Return the page of *query*. If the request has the header `x-llmcore-fragment`, return only the content of `main`.

    Call this function in a thread, because reading the ledger is a blocking operation.

    Args:
        core: The Core whose ledger is shown.
        query: The part of the address after the question mark.
        headers: The headers of the request, with names in lower case.
        user: Show the calls and budgets of this user only; None shows all.
    """
    fixed = {} if user is None else {"user": user}
    try:
        view = parse_view(query, fixed=fixed)
        report = read_report(core, view)
    except ViewError as error:
        return PageAnswer(400, render_fault("This address does not work", str(error)).encode())
    except LedgerError as error:
        _log.error("the ledger cannot be read: %s", error)
        message = (
            error.message if user is None else "the ledger cannot be read; the log of the server says why"
        )
        return PageAnswer(503, render_fault("No figures", message).encode())
    if "x-llmcore-fragment" in headers:
        return PageAnswer(200, render_main(report, is_file=False).encode())
    return PageAnswer(200, render_page(report, fixed=frozenset(fixed)).encode())
