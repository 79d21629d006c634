"""Tests of the sizes, times, types and ETags of files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from llmcore.types import FileInfo
from llmcore_testing.conformance.storage_conditional_saves import ConditionalSaving

__all__ = ["MetadataTests"]

_ZONE: Final = "KIT-5:45"
"""A time zone 5 hours and 45 minutes east of UTC, in which a backend that mistakes local time for UTC is always detected."""
_CLOCK_S: Final = 900.0
"""The tolerance for the clock of a server, in seconds."""
_SAME_S: Final = 1.0
"""The tolerance in seconds between the times that two methods report for the same file. The times can differ, because
HTTP headers contain whole seconds."""


class MetadataTests(ConditionalSaving):
    """Tests that all methods report the metadata of the last save."""

    def test_each_way_to_read_metadata_reports_the_last_save(self) -> None:
        key = "a/file.json"
        etags: list[str] = []
        for data in (b"", b"{}", b"[]", b"x" * 70_000, b"1"):
            self.call("save", key, data)
            etags.append(self._check_metadata(key, data) or f"none {len(etags)}")
        if self.caller.has("save_stream"):
            pieces = [b"stre", b"amed"]
            self.call("save_stream", key, pieces if self.caller.variant == "sync" else _iterate(pieces))
            etags.append(self._check_metadata(key, b"streamed") or "none streamed")
        if self.caller.has("copy"):
            self.call("save", "source.json", b"copied text")
            for method in ("copy", "move"):
                self.call("save", key, b"old")
                self.call(method, "source.json", key)
                self._check_metadata(key, b"copied text")
        assert len(set(etags)) == len(etags), f"the etag must change with the content, got {etags}"

    def test_times_do_not_depend_on_the_time_zone(self) -> None:
        with _set_zone(_ZONE):
            self.call("save", "a/file", b"1")
            now = time.time()
            for name, modified in self._read_times("a/file").items():
                assert abs(modified - now) < _CLOCK_S, (
                    f"the time of {name} must be in seconds since 1970-01-01 UTC: "
                    f"in a time zone of +5:45 it is {modified - now:+.0f} s off"
                )

    def test_a_condition_accepts_the_etag_of_each_method(self) -> None:
        if not (self.caller.has("save_if_match") and self.holds_conditions()):
            return
        for name in ("get_file_info", "list_page", "load_with_etag", "save_if_absent", "save_if_match"):
            if not self.caller.has(name):
                continue
            self.call("delete", "a/file")
            etag = self.call("save_if_absent", "a/file", b"1")
            match name:
                case "get_file_info":
                    etag = self.call(name, "a/file").etag
                case "list_page":
                    etag = self.call(name, "a/")[0].etag
                case "load_with_etag":
                    etag = self.call(name, "a/file")[1]
                case "save_if_match":
                    etag = self.call(name, "a/file", b"2", etag)
            if etag is not None:
                self.call("save_if_match", "a/file", b"3", etag)
                assert self.call("load", "a/file") == b"3", f"save_if_match must accept the etag of {name}"

    def _check_metadata(self, key: str, data: bytes) -> str | None:
        """Check the metadata that each method reports. Return the ETag."""
        __tracebackhide__ = True
        sizes: dict[str, Any] = {}
        etags: dict[str, str] = {}
        if self.caller.has("get_file_size"):
            sizes["get_file_size"] = self.call("get_file_size", key)
        for name, info in self._read_infos(key).items():
            sizes[name] = info.size_bytes
            assert info.key == key, f"{name} must report the key {key!r}, got {info.key!r}"
            assert info.content_type in (None, "application/json"), (
                f"the content type of .json must be application/json or None, {name} reports {info.content_type!r}"
            )
            if info.etag is not None:
                etags[name] = info.etag
        for name, size in sizes.items():
            assert type(size) is int, f"{name} must report a size of type int, got {type(size).__name__}"
            assert size == len(data), f"{name} must report the {len(data)} bytes of the last save, got {size}"
        times = self._read_times(key)
        for name, modified in times.items():
            assert type(modified) is float, (
                f"{name} must report a time of type float, got {type(modified).__name__}"
            )
        if times:
            assert max(times.values()) - min(times.values()) <= _SAME_S, (
                f"the times of a file must agree, got {times}"
            )
        if self.caller.has("load_with_etag"):
            loaded, etags["load_with_etag"] = self.call("load_with_etag", key)
            assert loaded == data, "load_with_etag must return the last save"
        assert len(set(etags.values())) <= 1, f"the etags of a file must agree, got {etags}"
        return next(iter(etags.values()), None)

    def _read_infos(self, key: str) -> dict[str, FileInfo]:
        found: dict[str, FileInfo] = {}
        if self.caller.has("get_file_info"):
            found["get_file_info"] = self.call("get_file_info", key)
        if self.caller.has("list_page"):
            found["list_page"] = next(info for info in self.call("list_page") if info.key == key)
        return found

    def _read_times(self, key: str) -> dict[str, float]:
        found = {name: info.modified for name, info in self._read_infos(key).items()}
        if self.caller.has("get_modified_time"):
            found["get_modified_time"] = self.call("get_modified_time", key)
        return found


async def _iterate(pieces: list[bytes]) -> Any:
    for piece in pieces:
        yield piece


@contextmanager
def _set_zone(zone: str) -> Iterator[None]:
    """Set the time zone of the process, if the system supports that."""
    if not hasattr(time, "tzset"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        try:
            yield
        finally:
            patch.undo()
            time.tzset()
