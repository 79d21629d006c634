"""`llmcore batch list`, `status` and `cancel`: show runs, and cancel a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core
from llmcore.cli.show import format_cost, note, print_json, put
from llmcore.cli.text_table import print_table
from llmcore.llm.batch.queue_store import has_open_chunks
from llmcore.llm.batch.run import find_run, find_runs_folder
from llmcore.llm.batch.run_plan import RunPlan
from llmcore.llm.batch.store import RunStore, list_runs
from llmcore.support.money import from_nano

__all__ = ["begin_again", "cancel_run", "read_facts", "show_runs", "show_status"]


def read_facts(path: Path) -> dict[str, str] | None:
    """Return the stored fields of the run in the file *path*; None if the file does not exist."""
    return next((facts for name, facts, _ in list_runs(path.parent) if name == path.stem), None)


def begin_again(args: argparse.Namespace, path: Path) -> None:
    """Delete the stored data of a run, including the answers that the workers of an engine share in the ledger."""
    store = RunStore(path)  # raises an error while another process works on the run
    if store.get("engine"):
        store.close()
        with open_core(args) as core:
            core.llm.open_run(RunPlan(path=path)).cancel()
        store = RunStore(path)
    store.clear()
    store.close()


def cancel_run(args: argparse.Namespace) -> int:
    """Cancel the vendor's batches of a run, and remove the file of the run."""
    path = find_run(args.id)
    store = RunStore(path)  # raises an error while another process works on the run
    is_queued, is_shared = has_open_chunks(store), bool(store.get("engine"))
    store.close()
    if is_queued:
        note("waiting for the vendor to end the batches")
    if is_queued or is_shared:
        with open_core(args) as core:
            core.llm.open_run(RunPlan(path=path)).cancel()
    for ending in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm", ".lock"):
        path.with_suffix(ending).unlink(missing_ok=True)
    note(f"forgot the run {args.id}")
    return 0


def show_runs(args: argparse.Namespace) -> int:
    """List the runs."""
    rows = [_describe(name, facts, counts) for name, facts, counts in list_runs(find_runs_folder())]
    if args.json:
        print_json(runs=rows)
    elif rows:
        headers = ("run", "state", "items", "answered", "failed", "begun")
        table = [
            [str(row[name]) for name in ("run", "state", "items", "done", "failed", "created")]
            for row in rows
        ]
        print_table(
            args, headers, table, whole=("run", "state", "begun"), optional=("begun", "items", "answered")
        )
    else:
        note("no runs")
    return 0


def show_status(args: argparse.Namespace) -> int:
    """Show one run."""
    wanted = None if args.id is None else find_run(args.id).stem
    found = [run for run in list_runs(find_runs_folder()) if wanted in {None, run[0]}]
    if not found:
        raise UsageError(
            "there are no runs", expected="a run", fix="llmcore batch run prompts.jsonl -o answers.jsonl"
        )
    row = _describe(*found[0])
    if args.json:
        print_json(**row)
    else:
        shown = {**row, "cost": format_cost(row["cost"])}
        put("\n".join(f"{name}: {value}" for name, value in shown.items() if value is not None))
        if row["state"] == "unfinished" and "arguments" in found[0][1]:
            note(f"resume it with: llmcore batch resume {row['run']}")
    return 0


def _describe(name: str, facts: dict[str, str], counts: Any) -> dict[str, Any]:
    state = "finished" if facts.get("finished") else "unfinished"
    return {
        "run": name,
        "state": state,
        "items": counts.items,
        "done": counts.done,
        "failed": counts.failed,
        "requests": counts.answers,
        "queued": counts.queued,
        "cost": from_nano(counts.cost),
        "output": facts.get("output"),
        "created": facts.get("created"),
    }
