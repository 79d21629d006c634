"""Find the reader of a vendor's bill, and the providers in the ledger whose requests the bill contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcore.errors import PluginError, PluginNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmcore.config import Settings
    from llmcore.contracts.bills import BillReader
    from llmcore.plugins import Catalogue

__all__ = ["find_billed_providers", "make_bill_reader"]

_KINDS = ("llm", "voice")
"""A bill contains the requests of providers of these kinds."""


def make_bill_reader(settings: Settings, catalogue: Catalogue, name: str) -> BillReader:
    """See `Core.bill_reader`."""
    used = settings.list_instances("llm").get(name, name)
    source = catalogue.load_provider("llm", used).bill
    if source is None:
        raise PluginError(
            f"the llm provider `{name}` reads no bills",
            expected="a provider whose vendor reports usage and costs, such as openai or anthropic",
            fix=settings.format_command("usage reconcile openai"),
        )
    reader: BillReader = source.create(settings.read_table(source.table))
    return reader


def find_billed_providers(
    settings: Settings, catalogue: Catalogue, names: Iterable[str]
) -> dict[str, list[str]]:
    """Map each provider that reads bills to those of *names* whose requests the bill of the provider contains.

    *names* are the providers and instances in the ledger. An instance with its own `base_url` is left out, because its
    requests go to another server.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        used = next((each[name] for each in map(settings.list_instances, _KINDS) if name in each), name)
        if used != name and any(settings.get_table(kind, name).get("base_url") for kind in _KINDS):
            continue
        try:
            source = catalogue.load_provider("llm", used).bill
        except PluginNotFound:  # the ledger still has requests of a plugin that was uninstalled
            continue
        if source is not None:
            found.setdefault(used, []).append(name)
    return found
