"""Tests with files of other programs in the bucket or folder of the storage. Their names are not valid keys."""

from __future__ import annotations

import pytest

from llmcore_testing.conformance.abilities import Abilities, for_ability

__all__ = ["FOREIGN", "ForeignFiles"]

FOREIGN = (
    "folder/", "notes/folder/", "notes//double.txt", "/leading", "../up", "notes/../up", "notes/./here", "notes/..",
    "control\x01character", "notes/tab\tin it", "line\nbreak", "notes/" + "n" * 256, "notes/" + "long/" * 63 + "x" * 5,
    "notes/dot.", "con", "a:b", "not-nfc-e\u0301", "latin-1-\udcff",
)  # fmt: skip
_OURS = ("-first", "notes/-a", "notes/a.txt", "notes/b.txt", "notes/folder.txt", "pictures/c.png", "z")


class ForeignFiles(Abilities):
    """Tests a storage next to files of other programs. Override `plant` if other programs can write there."""

    def plant(self, name: str, data: bytes) -> bool:
        """Write *data* under *name* next to the storage's files, bypassing the storage.

        Return False if the name is not possible there. For example, a disk has no name "a//b".
        """
        del name, data
        return False

    @pytest.mark.parametrize("name", FOREIGN, ids=ascii)
    def test_a_name_that_cannot_be_a_key_hides_no_neighbour(self, name: str) -> None:
        if not self._plant_one(name):
            return
        for prefix in ("", "notes/", "notes/a", "pictures/", "no"):
            expected = sorted(key for key in _OURS if key.startswith(prefix))
            assert list(self.call("list_files", prefix)) == expected, (
                f"list_files({prefix!r}) must not be affected by the foreign file {name!a}"
            )

    @for_ability("list_page")
    @pytest.mark.parametrize("name", FOREIGN, ids=ascii)
    def test_a_name_that_cannot_be_a_key_is_on_no_page(self, name: str) -> None:
        self.needs("list_page")
        if not self._plant_one(name):
            return
        for prefix in ("", "notes/"):
            expected = sorted(key for key in _OURS if key.startswith(prefix))
            for limit in (1, 3, 1000):
                found: list[str] = []
                while page := list(self.call("list_page", prefix, limit, found[-1] if found else "")):
                    found += [info.key for info in page]
                    assert len(found) <= len(expected), (
                        f"too many keys on the pages of {prefix!r} next to {name!a}: {found}"
                    )
                    if len(page) < limit:
                        break
                assert found == expected, (
                    f"pages of {limit} of {prefix!r} must not be affected by the foreign file {name!a}"
                )

    def test_many_names_that_cannot_be_keys_hide_no_neighbour(self) -> None:
        for key in _OURS:
            self.call("save", key, key.encode())
        for name in FOREIGN:
            self.plant(name, b"")
        listed = list(self.call("list_files"))
        assert listed == sorted(_OURS)
        for key in listed:
            assert self.call("load", key) == key.encode(), "a listed file must be loadable"

    def _plant_one(self, name: str) -> bool:
        """Plant *name* and save files next to it. Return False, without saving, if *name* is not possible there."""
        if not self.plant(name, b""):
            return False
        for key in _OURS:
            self.call("save", key, key.encode())
        return True
