"""What is there: lists, pages, patterns, facts, folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError, StorageKeyError
from llmcore.storage.asking import Asking, checked_number, checked_text
from llmcore.storage.globs import beginning, matcher
from llmcore.types import FileInfo

__all__ = ["ListedFiles", "page_sizes"]

_FIRST_PAGE: Final = 1000
_LARGEST_PAGE: Final = 64_000


def page_sizes() -> Iterator[int]:
    """Yield how many files to ask for in the first page, the second and so on.

    They grow, since a disk must look at all names of a folder for each page: many small ones of a large folder would
    take the square of the time.
    """
    size = _FIRST_PAGE
    while True:
        yield size
        size = min(size * 2, _LARGEST_PAGE)


class ListedFiles(Asking):
    """What tells of files rather than carries them."""

    def exists(self, key: str) -> bool:
        """Return whether a file is stored under *key*."""
        return bool(run(self._ask("exists", key)))

    async def aexists(self, key: str) -> bool:
        """See `exists`."""
        return bool(await arun(self._ask("exists", key)))

    def delete(self, key: str) -> bool:
        """Remove the file; return whether there was one."""
        return bool(run(self._ask("delete", key)))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return bool(await arun(self._ask("delete", key)))

    def list_files(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with *prefix*, at any depth, sorted."""
        return run(self._listed(prefix))

    async def alist_files(self, prefix: str = "") -> list[str]:
        """See `list_files`."""
        return await arun(self._listed(prefix))

    def list_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """Return the first *limit* files that begin with *prefix* and come after the key *after*, sorted.

        The last key of a page is the *after* of the next; a page of fewer than *limit* files is the last.
        """
        return run(self._page(prefix, limit, after))

    async def alist_page(self, prefix: str = "", limit: int = 1000, after: str = "") -> list[FileInfo]:
        """See `list_page`."""
        return await arun(self._page(prefix, limit, after))

    def glob(self, pattern: str, limit: int | None = None, after: str = "") -> list[str]:
        """Return the keys that match, sorted: at most *limit* of them, those after the key *after*.

        `*` stands for any text within a part, `?` for one character, `**` for any text: "reports/**/*.txt".
        """
        return run(self._matching(pattern, limit, after))

    async def aglob(self, pattern: str, limit: int | None = None, after: str = "") -> list[str]:
        """See `glob`."""
        return await arun(self._matching(pattern, limit, after))

    def create_directory(self, key: str) -> None:
        """Make the folder and those above it."""
        run(self._ask("create_directory", key))

    async def acreate_directory(self, key: str) -> None:
        """See `create_directory`."""
        await arun(self._ask("create_directory", key))

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
        """Return size and time of the file, and where the backend knows them content type and etag."""
        return run(self._info(key))

    async def aget_file_info(self, key: str) -> FileInfo:
        """See `get_file_info`."""
        return await arun(self._info(key))

    def info(self, keys: Sequence[str]) -> list[FileInfo]:
        """Return what `get_file_info` tells of each of *keys*."""
        return run(self._infos(keys))

    async def ainfo(self, keys: Sequence[str]) -> list[FileInfo]:
        """See `info`."""
        return await arun(self._infos(keys))

    def _infos(self, keys: Sequence[str]) -> Act[list[FileInfo]]:
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise StorageError(
                f"keys are several, got {type(keys).__name__}",
                where="argument keys",
                expected="a list of keys",
                fix="get_file_info(key)" if isinstance(keys, str) else None,
            )
        infos: list[FileInfo] = []
        for key in keys:
            infos.append((yield from self._info(key)))  # noqa: PERF401 - a comprehension cannot yield
        return infos

    def _listed(self, prefix: str) -> Act[list[str]]:
        _check_prefix(prefix)
        return list((yield from self._ask("list_files", prefix)))

    def _page(self, prefix: str, limit: int, after: str) -> Act[list[FileInfo]]:
        checked_number("limit", limit, 1, "a page has at least one file, not this")
        checked_text("after", after, "reports/november.txt")
        _check_prefix(prefix)
        if self._has("list_page"):
            return list((yield from self._ask("list_page", prefix, limit, after)))
        found = [key for key in (yield from self._ask("list_files", prefix)) if key > after]
        return (yield from self._infos(found[:limit]))

    def _matching(self, pattern: str, limit: int | None, after: str) -> Act[list[str]]:
        checked_text("pattern", pattern, "reports/**/*.txt")
        checked_text("after", after, "reports/november.txt")
        if limit is not None:
            checked_number("limit", limit, 0, "no number of keys")
        matches, prefix = matcher(pattern), beginning(pattern)
        if limit is None or not self._has("list_page"):
            keys = yield from self._ask("list_files", prefix)
            return [key for key in keys if key > after and matches(key)][:limit]
        found: list[str] = []
        if not limit:
            return found
        for size in page_sizes():
            page = yield from self._ask("list_page", prefix, size, after)
            found += [info.key for info in page if matches(info.key)]
            if len(page) < size or len(found) >= limit:
                break
            after = page[-1].key
        return found[:limit]


def _check_prefix(prefix: object) -> None:
    if isinstance(prefix, str) and not {"*", "?"}.isdisjoint(prefix):
        raise StorageKeyError(
            f"the prefix {prefix!a} begins no key: it is a pattern",
            expected="what keys begin with",
            fix=f"glob({prefix!r})",
        )
