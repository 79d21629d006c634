"""Tests of concurrent use of a storage: readers while a file moves, and a second instance with the same files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import pytest

from llmcore.errors import StorageChanged, StorageExists, StorageNotFound
from llmcore_testing.conformance.abilities import for_ability
from llmcore_testing.conformance.caller import Caller, Script
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.storage_conditional_saves import ConditionalSaving

__all__ = ["SharedTests"]

_ROUNDS: Final = 6
_READERS: Final = 4


class SharedTests(ConditionalSaving):
    """Tests that readers always get a complete file, and that two instances see the same files."""

    @pytest.fixture
    def twin(self, provider: Any) -> Any:  # noqa: ARG002 - overrides use `provider`
        """Return a second instance with the same files, as in another process."""
        return None

    @for_ability("copy")
    def test_a_reader_finds_a_file_while_it_moves(self) -> None:
        self.needs("copy", "move")
        data = b"moving" * 10_000
        self.call("save", "place 0", data)
        for turn in range(_ROUNDS):
            old, new = f"place {turn}", f"place {turn + 1}"
            found = self.race(
                [_call_once("move", old, new), *(_read_either(old, new) for _ in range(_READERS))]
            )
            assert all(are_equal(each, data) for each in found[1:]), (
                "the file must exist under at least one of the keys at any time: a reader found neither"
            )

    @for_ability("copy")
    def test_a_reader_gets_the_old_or_the_new_file_while_a_copy_replaces_it(self) -> None:
        self.needs("copy", "move")
        versions = [bytes([65 + i]) * 60_000 for i in range(_ROUNDS)]
        for number, data in enumerate(versions):
            self.call("save", f"version {number}", data)
        self.call("save", "target", versions[0])
        for number, method in enumerate(("copy", "copy", "move", "copy", "move"), 1):
            readers = [_call_once("load", "target") for _ in range(_READERS)]
            found = self.race([_call_once(method, f"version {number}", "target"), *readers])
            assert set(found[1:]) <= {versions[number - 1], versions[number]}, (
                f"a reader of the target of {method} got bytes that are not one saved version"
            )
            assert self.call("load", "target") == versions[number]

    @requires("twin")
    def test_a_second_instance_sees_each_change_at_once(self, twin: Any) -> None:
        with closing(self.another(twin)) as other:
            for mine, theirs in ((self.caller, other), (other, self.caller)):
                _check_views(theirs, {})  # if the backend caches this empty list, the next check fails
                mine.call("save", "a/file", b"first")
                _check_views(theirs, {"a/file": b"first"})
                mine.call("save", "a/file", b"second, longer")
                mine.call("save", "b/file", b"other")
                _check_views(theirs, {"a/file": b"second, longer", "b/file": b"other"})
                if mine.has("copy"):
                    mine.call("copy", "a/file", "b/file")
                    mine.call("move", "a/file", "c/file")
                    _check_views(theirs, {"b/file": b"second, longer", "c/file": b"second, longer"})
                for key in ("a/file", "b/file", "c/file"):
                    mine.call("delete", key)
                _check_views(theirs, {})

    @for_ability("save_if_absent")
    @requires("twin")
    def test_conditions_hold_between_two_instances(self, twin: Any) -> None:
        self.needs("save_if_absent", "save_if_match", "load_with_etag")
        if not self.holds_conditions():
            return
        with closing(self.another(twin)) as other:
            first = self.call("save_if_absent", "a/file", b"mine")
            with pytest.raises(StorageExists):
                other.call("save_if_absent", "a/file", b"theirs")
            data, etag = other.call("load_with_etag", "a/file")
            assert (data, etag) == (b"mine", first), "two instances must give the same version the same ETag"
            other.call("save_if_match", "a/file", b"theirs", etag)
            with pytest.raises(StorageChanged):
                self.call("save_if_match", "a/file", b"mine again", first)
            assert self.call("load", "a/file") == b"theirs"

    @requires("twin")
    def test_readers_of_a_second_instance_get_whole_files(self, twin: Any) -> None:
        values = [bytes([65 + i]) * 65_536 for i in range(6)]
        with closing(self.another(twin)) as other:
            self.call("save", "shared/file", values[0])
            for writer, reader in ((self.caller, other), (other, self.caller)):
                scripts = [(writer, _call_once("save", "shared/file", value)) for value in values]
                scripts += [(reader, _call_once("load", "shared/file")) for _ in range(_READERS)]
                found = self.caller.race(scripts)
                assert found[: len(values)] == [None] * len(values), "save returns nothing"
                assert all(one in values for one in found[len(values) :]), (
                    "a reader of the second instance must get one saved version"
                )

    @requires("twin")
    def test_closing_a_second_instance_leaves_the_first_usable(self, twin: Any) -> None:
        self.call("save", "a/file", b"kept")
        other = self.another(twin)
        assert other.call("load", "a/file") == b"kept"
        other.close()
        assert self.call("load", "a/file") == b"kept", "closing one instance must not delete files"
        self.call("save", "b/file", b"after")
        assert list(self.call("list_files")) == ["a/file", "b/file"]


def _call_once(*call: Any) -> Script:
    return (yield call)


def _read_either(old: str, new: str) -> Script:
    """Load the file that moves from *old* to *new*. Return None if both keys are missing."""
    for key in (old, new):
        try:
            return (yield "load", key)
        except StorageNotFound:
            continue
    return None


def _check_views(caller: Caller, files: Mapping[str, bytes]) -> None:
    """Check that *caller* sees exactly *files* with every method that reads."""
    __tracebackhide__ = True
    who = "the second instance"
    listed = list(caller.call("list_files"))
    assert listed == sorted(files), f"list_files of {who} must return {sorted(files)}, got {listed}"
    for key in ("a/file", "b/file", "c/file"):
        assert caller.call("exists", key) is (key in files), (
            f"exists({key!r}) of {who} must be {key in files}"
        )
    for key, data in files.items():
        assert caller.call("load", key) == data, f"load({key!r}) of {who} must return what was saved last"
        if caller.has("get_file_info"):
            size = caller.call("get_file_info", key).size_bytes
            assert size == len(data), f"get_file_info({key!r}) of {who} must be of what was saved last"
    if caller.has("list_page"):
        page = [(info.key, info.size_bytes) for info in caller.call("list_page")]
        assert page == [(key, len(files[key])) for key in sorted(files)], (
            f"list_page of {who} must list what was saved last"
        )
