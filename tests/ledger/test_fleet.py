"""Budgets and rates hold for a fleet of processes whose servers and connections fail: a short form of `make fleet`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.fleet.fleet import Fleet

RUNS = 25


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("lease", "seed"), [("0s", 1), ("500ms", 2)])
def test_nothing_is_overspent_lost_or_left_reserved(tmp_path: Path, lease: str, seed: int) -> None:
    with Fleet(tmp_path, RUNS, seed, lease) as fleet:
        assert [line for number in range(RUNS) for line in fleet.run(number)] == []
        assert fleet.figures["answers"] > 20 * RUNS
        assert lease == "0s" or fleet.figures["leases"] > RUNS // 5, "usually three in a run"
