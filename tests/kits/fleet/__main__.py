"""The long form of the fleet: `make fleet ARGS="--runs 1000 --seed 1"`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.kits.fleet.fleet import Fleet

_RUNS_OF_A_FLEET = 50


def main() -> int:
    """Make runs with fresh fleets of 50 runs, with and without leases in turn; print what was wrong and what happened."""
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong, freed_s, figures = 0, 0.0, Counter[str]()
    for first in range(0, options.runs, _RUNS_OF_A_FLEET):
        count = min(_RUNS_OF_A_FLEET, options.runs - first)
        lease = ("0s", "500ms")[first // _RUNS_OF_A_FLEET % 2]
        with (
            tempfile.TemporaryDirectory(prefix="llmcore-fleet-") as folder,
            Fleet(Path(folder), count, options.seed + first, lease) as fleet,
        ):
            for number in range(count):
                for line in fleet.run(number):
                    wrong += 1
                    print(f"seed {options.seed + first}, lease {lease}: {line}", flush=True)
            if lease != "0s" and not fleet.figures["leases"]:
                wrong += 1
                print(f"seed {options.seed + first}, lease {lease}: no lease was granted", flush=True)
            figures.update(fleet.figures)
            freed_s = max(freed_s, fleet.freed_s)
        print(f"{first + count} runs, {wrong} faults, everything freed after {freed_s:.1f} s", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(figures.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
