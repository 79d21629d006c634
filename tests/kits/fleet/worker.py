"""A process of the fleet: `python -m tests.kits.fleet.worker CONFIG`.

For each line of stdin, the tag of a run and a number of calls, it makes so many calls in several threads, or fewer if the budget
of the run refuses. Then it writes a line of JSON: how often each outcome occurred.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import threading
from collections import Counter
from typing import Final

import llmcore
from llmcore import Core
from llmcore.errors import BudgetError, BudgetExceeded, LedgerUnavailable, RateLimited, Timeout
from llmcore_ledger_postgres import lease

OUTCOMES: Final = frozenset({"answers", "BudgetExceeded", "LC603", "LC611", "LC404"})
"""The expected ones. LC603: a budget applies, and its ledger cannot be used. LC611: the ledger is busy. LC404: the time is over."""
THREADS: Final = 2
MAX_TOKENS: Final = 400


def spend(core: Core, tag: str, calls: int, found: Counter[str]) -> None:
    """Make *calls* calls, or fewer if the budget refuses. Errors of a part that is away are counted."""
    for number in range(calls):
        try:
            core.llm.chat(f"{tag} {number}", max_tokens=MAX_TOKENS, tags=[tag], cache=False, timeout=20)
            found["answers"] += 1
        except BudgetExceeded:
            found["BudgetExceeded"] += 1
            return
        except (BudgetError, LedgerUnavailable, RateLimited, Timeout) as error:
            found[error.code or type(error).__name__] += 1
        except Exception as error:  # noqa: BLE001 - the fleet reports it
            found[f"{error!r} {error}"] += 1
            return


def main() -> None:
    """Run until stdin ends."""
    faulthandler.enable()  # for a process that hangs
    lease.HOT = 1  # a slow machine makes fewer calls in an interval
    with llmcore.load(sys.argv[1]) as core:
        print("ready", flush=True)
        for line in sys.stdin:
            found: Counter[str] = Counter()
            tag, _, calls = line.rpartition(" ")
            threads = [
                threading.Thread(target=spend, args=(core, tag, int(calls), found)) for _ in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
