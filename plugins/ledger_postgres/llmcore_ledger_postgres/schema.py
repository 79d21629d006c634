"""Create the tables and functions, or migrate an older version."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

from llmcore.errors import ConfigError, LedgerUnavailable
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_sums import SUM_AMOUNTS, SUM_KEYS
from llmcore_ledger_postgres.connections import Session

__all__ = ["check_name", "prepare"]

_VERSION: Final = 13
"""The version of tables and functions. Every migration replaces all functions. The versions after 1 added only an
index, tables and columns, and the files with the functions create them if they are missing.
"""
_HAS_STATE: Final = b"SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'state'"
"""The query that finds the table `state`. `to_regclass` is not used, because the session's cache may lack a
table that another process has just created.
"""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def check_name(schema: str) -> str:
    """Return *schema* if it is a lower-case name.

    Raises:
        ConfigError: *schema* is not a lower-case name.
    """
    if not _NAME.fullmatch(schema):
        raise ConfigError(
            f"`schema` in [ledger.postgres] must be a lower-case name, got {schema!r}",
            where="[ledger.postgres] schema",
            expected="letters, digits and underscores, such as llmcore",
        )
    return schema


def prepare(session: Session, schema: str, *, migrate: bool) -> None:
    """Create or migrate the tables, unless they have the version VERSION.

    Raises:
        LedgerUnavailable: The tables have another version, and *migrate* is false or the migration failed.
    """
    version = _read_version(session, schema)
    if version == _VERSION:
        return
    if version is not None and version > _VERSION:
        raise LedgerUnavailable(
            f"the ledger has version {version}, but this llmcore-ledger-postgres supports up to {_VERSION}"
        )
    if not migrate:
        raise LedgerUnavailable(
            f"the schema `{schema}` has version {version}, but {_VERSION} is needed, and `migrate` is false",
            expected="a migrated schema: run `llmcore usage` once as the role that owns the schema",
        )
    with session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{schema}.migration",))
        version = _read_version(session, schema)
        if version is None:
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
            session.execute(_read_file("tables.sql", schema))
        else:  # `reserve` locks the tables in another order, so wait for its transactions to avoid a deadlock
            session.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{schema}.counters",))
        session.execute(_read_file("functions.sql", schema))
        session.execute(_read_file("leases.sql", schema))
        session.execute(_read_file("runs.sql", schema))
        session.execute(f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC".encode())
        session.execute(f"UPDATE {schema}.state SET version = {_VERSION}".encode())  # noqa: S608 - `check_name` has checked the schema


def _read_version(session: Session, schema: str) -> int | None:
    if session.execute(_HAS_STATE, (schema,)).fetchone() is None:
        return None
    found = session.execute(f"SELECT version FROM {schema}.state".encode()).fetchone()  # noqa: S608 - `check_name` has checked the schema
    return int(found[0]) if found else None


def _read_file(name: str, schema: str) -> bytes:
    text = resources.files("llmcore_ledger_postgres").joinpath(name).read_text("utf-8")
    columns = ["day", "key", *(f'"{field}"' for field in LedgerRow.__struct_fields__ if field != "id")]
    values = [f"c.{column}" for column in columns]
    sums = [f"sum({name})::bigint AS {name}" for name in SUM_AMOUNTS]
    for old, new in (
        ("@sum_keys@", ", ".join(f'c."{name}"' for name in SUM_KEYS)),
        ("@sums@", ", ".join(sums)),
        ("{{", "{"),
        ("}}", "}"),
        ("{s}", schema),
        ("@columns@", ", ".join(columns)),
        ("@values@", ", ".join(values)),
    ):
        text = text.replace(old, new)
    return text.encode()
