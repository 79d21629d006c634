"""A test that needs an optional fixture is skipped with a reason, or left out by `lacks`; the run ends with a list of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from llmcore_testing.conformance import Conformance
from llmcore_testing.conformance.optional_tests import for_ability, requires

FILE = """
import pytest
from llmcore_storage_object import stores
from llmcore_storage_object.plugin import MemoryOptions
from llmcore_testing import StorageConformance


class TestPlain(StorageConformance):
    @pytest.fixture(params=["sync"])
    def variant(self, request):
        return request.param

    @pytest.fixture
    def provider(self):
        return stores.make_memory_storage(MemoryOptions())


class TestCannotBeCreated(TestPlain):
    lacks = ("twin", "broken", "denied", "canary")

    @pytest.fixture
    def provider(self):
        raise OSError("no server")


class TestLeavesOut(TestPlain):
    lacks = ("twin", "broken", "denied", "canary")
"""


class Base(Conformance):
    lacks: ClassVar[tuple[str, ...]] = ("dance", "twin")

    @for_ability("dance")
    def test_dance(self) -> None:
        """Need an ability."""

    @requires("twin")
    def test_twin(self) -> None:
        """Need a fixture."""


class LacksLess(Base):
    lacks: ClassVar[tuple[str, ...]] = ("dance",)


class LacksNothing(LacksLess):
    lacks = ()


def test_a_subclass_may_lack_less_than_its_base() -> None:
    kits: tuple[type[Conformance], ...] = (Base, LacksLess, LacksNothing)
    found = [[name for name in ("test_dance", "test_twin") if getattr(kit, name)] for kit in kits]
    assert found == [[], ["test_twin"], ["test_dance", "test_twin"]]


@pytest.mark.timeout(300)
def test_what_was_not_checked_is_listed_at_the_end_and_a_cause_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(FILE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "llmcore_testing.pytest_plugin", "-k",
         "second_instance or is_gone or refused_credentials or never_shown or list_files"],
        cwd=tmp_path, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count('raise OSError("no server")') == 1, "a cause is shown once"
    assert "the same cause as in test_list_files_is_sorted" in done.stdout
    _, _, listed = done.stdout.partition("llmcore: not checked by the conformance kits")
    assert [line for line in listed.splitlines() if line.startswith("Test")] == [
        'TestPlain: a second instance; define the fixture `twin`, or write lacks = ("twin",)',
        'TestPlain: a server that fails; define the fixtures `upstream` and `broken`, or write lacks = ("broken",)',
        'TestPlain: credentials that the server refuses; define the fixture `denied`, or write lacks = ("denied",)',
        'TestPlain: that nothing shows the key; define the fixture `canary`, or write lacks = ("canary",)',
    ]
