"""Run the named rows, or all: `python -m benchmarks [row ...]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from benchmarks import rows
from benchmarks.environments import ROOT, build_wheels
from benchmarks.harness import Prepare, Row, Workshop, describe_machine, measure, render_table

FOLDER = ROOT / ".cache/bench"


def list_rows() -> list[str]:
    """Return the names of all rows. Each is a module of `benchmarks.rows`."""
    return sorted(module.name for module in iter_modules(rows.__path__))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the results as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(list_rows())}; default: all")
    parser.add_argument("--rounds", type=int, help="how often each side is taken; default: the row's own")
    parser.add_argument("--large", action="store_true", help="measure what takes many minutes too")
    parser.add_argument("--json", type=Path, default=FOLDER / "results.json", metavar="FILE")
    options = parser.parse_args(arguments)
    if unknown := set(options.rows) - set(list_rows()):
        parser.error(f"no row is called {', '.join(sorted(unknown))}; there are: {', '.join(list_rows())}")

    shop = Workshop(FOLDER, build_wheels(FOLDER / "wheels"), large=options.large)
    results = {}
    for name in options.rows or list_rows():
        prepare: Prepare = import_module(f"benchmarks.rows.{name}").prepare
        with prepare(shop) as prepared:
            for row in [prepared] if isinstance(prepared, Row) else prepared:
                key = name if row is prepared else f"{name}: {row.title}"
                results[key] = measure(row, rounds=options.rounds)
                sys.stdout.write("\n".join([*render_table(results[key]), "", ""]))
                sys.stdout.flush()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": describe_machine(), "rows": results}, indent=2) + "\n")
    sys.stdout.write(f"also in {options.json}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
