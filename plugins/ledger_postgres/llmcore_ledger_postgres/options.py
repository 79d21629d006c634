"""The options of the ledger `postgres`."""

from __future__ import annotations

from llmcore.hookspecs import Options
from llmcore.types import Duration, Secret

__all__ = ["PostgresOptions"]


class PostgresOptions(Options, frozen=True):
    """Options of `[ledger.postgres]`."""

    url: Secret
    """`postgresql://user:password@host:5432/database`, or the parameters of libpq: `host=... dbname=...`."""
    schema: str = "llmcore"
    """The schema of the tables: a lower-case name. Ledgers in different schemas are independent."""
    migrate: bool = True
    """True if the plugin creates and migrates the tables. If false, another role must create the tables first."""
    max_connections: int = 4
    """The maximum number of connections of this process."""
    connect_timeout: Duration = Duration(2.0)
    """The time limit for a new connection."""
    heartbeat: Duration = Duration(5.0)
    """The interval at which this process reports that it is alive."""
    silence: Duration = Duration(20.0)
    """A process without a heartbeat for this time counts as dead. Other processes then settle its requests at the maximum cost."""
    lease: Duration = Duration(0.0)
    """The interval of the reports of budget leases; 0 turns leases off. With leases, this process reserves blocks of
    budgets with many requests, and spends from the blocks without the server."""

    def __repr__(self) -> str:
        return f"PostgresOptions(schema={self.schema!r}, max_connections={self.max_connections})"
