"""List files, match patterns, and get information about files; create folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

from llmcore.calls.argument_names import check_argument_names
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError, StorageKeyError
from llmcore.storage.backend_calls import BackendCalls, check_number, check_text
from llmcore.storage.globs import compile_glob, get_prefix
from llmcore.support.foreign_names import ForeignNames, Skipped
from llmcore.types import FileInfo

__all__ = ["ListedFiles", "iterate_page_sizes"]

_FIRST_PAGE: Final = 1000
_LARGEST_PAGE: Final = 64_000


def iterate_page_sizes() -> Iterator[int]:
    """Yield the sizes of the pages to request.

    The pages grow, because a storage on a disk reads all names of a folder for each page. With pages of a fixed size,
    listing a large folder would take quadratic time.
    """
    size = _FIRST_PAGE
    while True:
        yield size
        size = min(size * 2, _LARGEST_PAGE)


class ListedFiles(BackendCalls):
    """Methods that list, describe, copy or delete files."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        super().__init__(opener)
        self._foreign = ForeignNames("the storage")

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under *key*."""
        return bool(run(self._ask("exists", key)))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await arun(self._ask("exists", key)))

    def delete(self, key: str) -> bool:
        """Delete the file; return whether it existed."""
        return bool(run(self._ask("delete", key)))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await arun(self._ask("delete", key)))

    @check_argument_names
    def list_files(self, prefix: str = "", pattern: str | None = None) -> list[str]:
        """Return the keys that begin with *prefix*, sorted.

        Args:
            prefix: The beginning of the keys, such as a folder.
            pattern: A pattern for the key after *prefix*, as in `glob`. "*.txt" matches text files in the folder
                *prefix*; "**/*.txt" also matches files in folders below. The "/" between prefix and pattern may be
                omitted. If None, all keys match.
        """
        return run(self._list_keys(prefix, pattern))

    @check_argument_names
    async def alist_files(self, prefix: str = "", pattern: str | None = None) -> list[str]:
        """See `list_files`."""
        return await arun(self._list_keys(prefix, pattern))

    @check_argument_names
    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """Return at most *limit* files, sorted by key. Each key begins with *prefix* and sorts after the key *after*.

        Pass the last key of a page as *after* to get the next page. A page of fewer than *limit* files is the last one.
        """
        return run(self._get_page(prefix, limit, after))

    @check_argument_names
    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """See `list_page`."""
        return await arun(self._get_page(prefix, limit, after))

    @check_argument_names
    def glob(self, pattern: str, limit: int | None = None, after: str = "") -> list[str]:
        """Return at most *limit* keys, sorted. Each key matches *pattern* and sorts after the key *after*.

        `*` matches any text within a part, `?` matches one character, and `**` matches any text. An example is
        "reports/**/*.txt".
        """
        return run(self._glob(pattern, limit, after))

    @check_argument_names
    async def aglob(self, pattern: str, limit: int | None = None, after: str = "") -> list[str]:
        """See `glob`."""
        return await arun(self._glob(pattern, limit, after))

    def create_directory(self, key: str) -> Literal[True]:
        """Create the folder and its missing parents. Return True."""
        run(self._ask("create_directory", key))
        return True

    async def acreate_directory(self, key: str) -> Literal[True]:
        """See `create_directory`."""
        await arun(self._ask("create_directory", key))
        return True

    def get_file_size(self, key: str) -> int:
        """Return the size of the file in bytes."""
        return int(run(self._ask("get_file_size", key)))

    async def aget_file_size(self, key: str) -> int:
        """See `get_file_size`."""
        return int(await arun(self._ask("get_file_size", key)))

    def get_modified_time(self, key: str) -> float:
        """Return when the file was last saved, in seconds since 1970-01-01 UTC."""
        return float(run(self._ask("get_modified_time", key)))

    async def aget_modified_time(self, key: str) -> float:
        """See `get_modified_time`."""
        return float(await arun(self._ask("get_modified_time", key)))

    def get_file_info(self, key: str) -> FileInfo:
        """Return size and time of the file, and content type and ETag if the backend provides them."""
        return run(self._get_info(key))

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `get_file_info`."""
        return await arun(self._get_info(key))

    def info(self, keys: Sequence[str]) -> list[FileInfo]:
        """Return the result of `get_file_info` for each of *keys*."""
        return run(self._get_infos(keys))

    async def ainfo(self, keys: Sequence[str]) -> list[FileInfo]:
        """See `info`."""
        return await arun(self._get_infos(keys))

    def _get_infos(self, keys: Sequence[str]) -> Act[list[FileInfo]]:
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise StorageError(
                f"keys must be a list of keys, got {type(keys).__name__}",
                where="argument keys",
                expected="a list of keys",
                fix="get_file_info(key)" if isinstance(keys, str) else None,
            )
        infos: list[FileInfo] = []
        for key in keys:
            infos.append((yield from self._get_info(key)))  # noqa: PERF401 - a comprehension cannot yield
        return infos

    def _list_keys(self, prefix: str, pattern: str | None) -> Act[list[str]]:
        _check_prefix(prefix)
        if pattern is not None:
            check_text("pattern", pattern, "*.txt")
        keys = self._skip_foreign((yield from self._ask("list_files", prefix)))
        if pattern is None:
            return keys
        matches = compile_glob(pattern)
        return [key for key in keys if matches(key[len(prefix) :].removeprefix("/"))]

    def _skip_foreign(self, keys: Sequence[str]) -> list[str]:
        """Return the valid keys of a backend's list. Other programs may have stored files whose names are not valid keys."""
        skipped = Skipped()
        accepted = [key for key in keys if skipped.check(key)]
        self._foreign.report(skipped)
        return accepted

    def _skip_foreign_infos(self, infos: Sequence[FileInfo]) -> list[FileInfo]:
        """See `_skip_foreign`."""
        skipped = Skipped()
        accepted = [info for info in infos if skipped.check(info.key)]
        self._foreign.report(skipped)
        return accepted

    def _get_page(self, prefix: str, limit: int, after: str) -> Act[list[FileInfo]]:
        check_number("limit", limit, 1)
        check_text("after", after, "reports/november.txt")
        _check_prefix(prefix)
        if self._has("list_page"):
            return (yield from self._fill_page(prefix, limit, after))
        found = [
            key for key in self._skip_foreign((yield from self._ask("list_files", prefix))) if key > after
        ]
        return (yield from self._get_infos(found[:limit]))

    def _fill_page(self, prefix: str, limit: int, after: str) -> Act[list[FileInfo]]:
        """Return *limit* files if so many exist.

        If names were skipped, read on until the page is full, because callers treat a page with fewer files as the last
        page.
        """
        found: list[FileInfo] = []
        while True:
            page = yield from self._ask("list_page", prefix, limit, after)
            found += self._skip_foreign_infos(page)
            if len(page) < limit or len(found) >= limit:
                return found[:limit]
            after = page[-1].key

    def _glob(self, pattern: str, limit: int | None, after: str) -> Act[list[str]]:
        check_text("pattern", pattern, "reports/**/*.txt")
        check_text("after", after, "reports/november.txt")
        if limit is not None:
            check_number("limit", limit, 0)
        matches, prefix = compile_glob(pattern), get_prefix(pattern)
        if limit is None or not self._has("list_page"):
            keys = self._skip_foreign((yield from self._ask("list_files", prefix)))
            return [key for key in keys if key > after and matches(key)][:limit]
        found: list[str] = []
        if not limit:
            return found
        for size in iterate_page_sizes():
            page = yield from self._ask("list_page", prefix, size, after)
            found += [info.key for info in self._skip_foreign_infos(page) if matches(info.key)]
            if len(page) < size or len(found) >= limit:
                break
            after = page[-1].key
        return found[:limit]


def _check_prefix(prefix: object) -> None:
    if isinstance(prefix, str) and not {"*", "?"}.isdisjoint(prefix):
        raise StorageKeyError(
            f"prefix must be the beginning of a key, got the pattern {prefix!a}",
            expected="the beginning of a key, such as a folder",
            fix=f"glob({prefix!r})",
        )
