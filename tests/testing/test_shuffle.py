"""Kits pass in random order. `make shuffle` runs all of them; here one does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import shuffle

TESTS = """
import pytest

seen = []

def test_a() -> None:
    seen.append("a")

@pytest.mark.parametrize("number", range(20))
def test_b(number) -> None:
    assert seen, "test_a must run before"
"""


@pytest.mark.process
def test_a_kit_passes_in_random_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert shuffle.main(["builtin_echo", "--seeds", "1"]) == 0
    assert re.search(r"test_builtin_echo.py  seed \d+, 1 process, \d+ s: \d+ passed", capsys.readouterr().out)


@pytest.mark.process
def test_a_test_that_needs_another_one_fails_and_its_order_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plugins/one/tests").mkdir(parents=True)
    (tmp_path / "plugins/one/tests/test_one_conformance.py").write_text(TESTS)
    monkeypatch.setattr(shuffle, "ROOT", tmp_path)
    assert shuffle.main(["--seeds", "1", "--first", "1"]) == 1
    said = capsys.readouterr().out
    assert "test_a must run before" in said
    assert "--random-order-seed=1 plugins/one/tests/test_one_conformance.py" in said
    assert "1 files in 1 orders each from seed 1 on: 1 failed" in said


def test_every_plugin_has_kits_that_are_run() -> None:
    found = "\n".join(shuffle.find_kits([]))
    folders = {path.parts[-3] for path in shuffle.ROOT.glob("plugins/*/tests/test_*conformance*.py")}
    assert len(folders) >= 11, folders
    assert all(f"plugins/{folder}/" in found for folder in folders)


def test_unknown_words_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        shuffle.main(["no such kit"])
    assert "no kit contains no such kit" in capsys.readouterr().err
