"""Tests of conditional writes: `save_if_absent` and `save_if_match`."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import StorageChanged, StorageError, StorageExists, StorageKeyError, StorageNotFound
from llmcore_testing.conformance.abilities import Abilities, for_ability

__all__ = ["ConditionalSaving"]


class ConditionalSaving(Abilities):
    """Tests `StorageConditional`. A backend that cannot check a condition must raise and must not save."""

    @for_ability("save_if_absent")
    def test_a_condition_that_cannot_be_held_is_refused_and_saves_nothing(self) -> None:
        if self.holds_conditions():
            return
        self.call("save", "a/file", b"old")
        for method, *args in (("save_if_absent", "a/new", b"new"), ("save_if_absent", "a/file", b"new"),
                              ("save_if_match", "a/file", b"new", self.call("load_with_etag", "a/file")[1])):  # fmt: skip
            self.fails(StorageError, method, *args)
        assert self.call("load", "a/file") == b"old"
        assert list(self.call("list_files")) == ["a/file"], (
            "a rejected save must leave no new file, not even one that the backend wrote as a probe"
        )

    @for_ability("save_if_absent")
    def test_the_first_of_several_makes_the_file(self) -> None:
        if not self.holds_conditions():
            return
        etag = self.call("save_if_absent", "a/file", b"first")
        assert type(etag) is str, f"save_if_absent must return the ETag, got {type(etag).__name__}"
        self.fails(StorageExists, "save_if_absent", "a/file", b"second")
        assert self.call("load_with_etag", "a/file") == (b"first", etag)
        self.call("delete", "a/file")
        self.call("save_if_absent", "a/file", b"")
        assert self.call("load", "a/file") == b"", "save_if_absent must work after delete"
        for number in range(4):
            calls = [("save_if_absent", f"race/{number}", bytes([i])) for i in range(8)]
            self._check_one_wins(calls, StorageExists)

    @for_ability("save_if_absent")
    def test_save_if_match_replaces_only_the_version_that_was_read(self) -> None:
        if not self.holds_conditions():
            return
        self.call("save", "a/file", b"first")
        data, etag = self.call("load_with_etag", "a/file")
        assert (data, type(data), type(etag)) == (b"first", bytes, str)
        second = self.call("save_if_match", "a/file", b"second", etag)
        assert second != etag, "a new version must have another ETag"
        self.fails(StorageChanged, "save_if_match", "a/file", b"third", etag)
        assert self.call("load_with_etag", "a/file") == (b"second", second)
        if self.caller.has("get_file_info"):
            assert self.call("get_file_info", "a/file").etag == second
        self.call("save", "a/file", b"by another")
        self.fails(StorageChanged, "save_if_match", "a/file", b"third", second)
        self.call("delete", "a/file")
        self.fails(StorageChanged, "save_if_match", "a/file", b"third", second)
        self.fails(StorageChanged, "save_if_match", "never/saved", b"third", second)
        self.fails(
            StorageError, "save_if_match", "never/saved", b"third", None
        )  # the ETag None must not mean "no file exists"
        assert list(self.call("list_files")) == []

    @for_ability("save_if_absent")
    def test_of_several_that_read_the_same_one_replaces_it(self) -> None:
        if not self.holds_conditions():
            return
        etag = self.call("save_if_absent", "race/file", b"first")
        for _ in range(6):
            calls = [("save_if_match", "race/file", f"{etag} {i}".encode(), etag) for i in range(8)]
            etag = self._check_one_wins(calls, StorageChanged)

    @for_ability("save_if_absent")
    def test_a_condition_makes_no_bad_key_good(self) -> None:
        self.needs("load_with_etag", "save_if_absent", "save_if_match")
        self.call("save", "a/b", b"safe")
        self.fails(StorageNotFound, "load_with_etag", "nothing")
        for key in ("../outside", "/etc/passwd", "a//b", "nul\0byte", "a\\b"):
            self.fails(StorageKeyError, "load_with_etag", key)
            self.fails(StorageKeyError, "save_if_absent", key, b"hostile")
            self.fails(StorageKeyError, "save_if_match", key, b"hostile", "etag")
        assert list(self.call("list_files")) == ["a/b"]

    def _check_one_wins(self, calls: list[tuple[Any, ...]], lost: type[StorageError]) -> str:
        results = self.together(calls, errors=True)
        won = [i for i, result in enumerate(results) if isinstance(result, str)]
        assert len(won) == 1, f"exactly one of {len(calls)} saves must succeed, got {len(won)}"
        for result in results:
            assert isinstance(result, str | lost), (
                f"the other saves must raise {lost.__name__}, got {result!r}"
            )
        _, key, data, *_ = calls[won[0]]
        assert self.call("load_with_etag", key) == (data, results[won[0]]), (
            "the file of the successful save must exist"
        )
        return str(results[won[0]])

    def holds_conditions(self) -> bool:
        """Return whether the backend can check conditions. If it cannot, check that a save raises StorageError."""
        self.needs("load_with_etag", "save_if_absent", "save_if_match")
        try:
            self.call("save_if_absent", "holds", b"")
        except StorageError as error:
            if type(error) is not StorageError:
                pytest.fail(
                    f"save_if_absent of a new key must succeed, raised {type(error).__name__}: {error}"
                )
            return False
        self.call("delete", "holds")
        return True
