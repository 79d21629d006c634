"""Compare the ledger with the bill of a vendor, and name a cause for each difference."""

from llmcore.ledger.reconciliation.causes import CAUSES
from llmcore.ledger.reconciliation.prices import BilledPrice
from llmcore.ledger.reconciliation.reconcile import Cause, Reconciliation, Row, iterate_period, reconcile

__all__ = ["CAUSES", "BilledPrice", "Cause", "Reconciliation", "Row", "iterate_period", "reconcile"]
