"""Plugins are found by metadata only, even if some of it is damaged."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.discovery import GROUPS, discover, normalise_name
from llmcore.plugins import Catalogue, Listed

REDIS = "[llmcore.cache]\nredis = acme_redis.plugin\n"


def install(
    folder: Path,
    name: str,
    entries: str | bytes | None = REDIS,
    *,
    version: str = "1.0",
    metadata: bool = True,
) -> Path:
    """Write the metadata of an installed distribution by hand, and return its folder."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    if metadata:
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not me\n"
        )
    if entries is not None:
        (info / "entry_points.txt").write_bytes(entries.encode() if isinstance(entries, str) else entries)
    return info


def list_rows(*path: Path) -> list[Listed]:
    """List what is installed in *path*, without the built-ins."""
    return [row for row in Catalogue(env={}, path=path).list_plugins() if row.distribution != "llmcore-host"]


def make_row(distribution: str, version: str = "1.0", name: str = "redis") -> Listed:
    return Listed("cache", name, distribution, version, "acme_redis.plugin", "ready")


def list_notes(*path: Path) -> list[str]:
    return [f"{note.distribution}: {note.text}" for note in Catalogue(env={}, path=path).get_notes()]


def test_an_entry_point_says_kind_name_distribution_version_and_module(tmp_path: Path) -> None:
    install(
        tmp_path,
        "Acme.Redis",
        "[console_scripts]\nx = y:z\n\n# ours\n[ llmcore.cache ]\nredis=acme_redis.plugin:x [extra]\n",
    )
    assert list_rows(tmp_path) == [make_row("Acme.Redis")]
    assert list_notes(tmp_path) == []


def test_every_kind_has_its_group(tmp_path: Path) -> None:
    kinds = ["llm", "cache", "storage", "voice", "observers", "commands", "tables"]
    install(tmp_path, "acme", "".join(f"[llmcore.{kind}]\nacme = acme:run\n" for kind in reversed(kinds)))
    assert [found.kind for found in list_rows(tmp_path)] == kinds


def test_a_distribution_counts_once_and_the_first_folder_on_the_path_wins(tmp_path: Path) -> None:
    install(tmp_path / "a", "acme-redis", version="2.0")
    install(tmp_path / "b", "Acme_Redis", version="3.0")
    assert list_rows(tmp_path / "a", tmp_path / "b") == [make_row("acme-redis", "2.0")]
    assert list_rows(tmp_path / "b", tmp_path / "a") == [make_row("Acme_Redis", "3.0")]


def test_a_first_copy_without_entries_hides_the_second_one_too(tmp_path: Path) -> None:
    install(tmp_path / "a", "acme-redis", None)
    install(tmp_path / "b", "acme-redis")
    assert list_rows(tmp_path / "a", tmp_path / "b") == []


def test_a_folder_left_behind_without_metadata_hides_nothing(tmp_path: Path) -> None:
    install(tmp_path / "a", "acme-redis", None, metadata=False)
    install(tmp_path / "a", "~cme-redis", version="0.9")
    install(tmp_path / "b", "acme-redis")
    assert list_rows(tmp_path / "a", tmp_path / "b") == [make_row("acme-redis")]


def test_of_two_versions_in_one_folder_the_newer_counts(tmp_path: Path) -> None:
    for version in ("0.9", "0.10", "0.2"):
        install(tmp_path, "acme-redis", version=version)
    assert list_rows(tmp_path) == [make_row("acme-redis", "0.10")]


def test_metadata_without_a_header_takes_name_and_version_from_its_folder(tmp_path: Path) -> None:
    install(tmp_path, "acme-redis", version="1.2", metadata=False)
    assert list_rows(tmp_path) == [make_row("acme_redis", "1.2")]


@pytest.mark.parametrize("folder", ["acme_redis.egg-info", "acme_redis-1.0-py3.11.egg-info", "EGG-INFO"])
def test_the_older_forms_of_metadata_are_read(tmp_path: Path, folder: str) -> None:
    info = tmp_path / folder
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: acme-redis\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(REDIS)
    (tmp_path / "other-1.0-py3.11.egg-info").write_text("Name: other\nVersion: 1.0\n")
    assert list_rows(tmp_path) == [make_row("acme-redis")]
    assert list_notes(tmp_path) == []


def test_an_editable_install_is_found_by_its_metadata_and_loads_from_its_sources(tmp_path: Path) -> None:
    site, sources = tmp_path / "site", tmp_path / "sources"
    install(site, "acme-edited", "[llmcore.storage]\nedited = acme_edited\n")
    (site / "_acme_edited.pth").write_text(f"{sources}\n")
    sources.mkdir()
    (sources / "acme_edited.py").write_text(
        "from llmcore.hookspecs import Provider, hookimpl\n"
        "@hookimpl\ndef llmcore_storage_providers():\n    yield Provider(name='edited', create=dict)\n"
    )
    program = (
        "import site, sys; site.addsitedir(sys.argv[1])\n"
        "from llmcore.plugins import Catalogue\n"
        "print(Catalogue().load_provider('storage', 'edited').name, 'importlib.metadata' in sys.modules)"
    )
    assert run_program(program, str(site)) == "edited False"


def run_program(program: str, *arguments: str, **environ: str) -> str:
    """Return the output of *program* in a separate process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LLMCORE")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_listing_imports_no_plugin_and_no_loader(tmp_path: Path) -> None:
    install(tmp_path, "acme-redis", "[llmcore.cache]\nacme = acme_redis\nmemory = acme_redis\n")
    (tmp_path / "acme_redis.py").write_text("raise SystemExit('imported')")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "from llmcore.plugins import Catalogue\n"
        "catalogue = Catalogue(); states = [row.state for row in catalogue.list_plugins() "
        "if row.kind == 'cache' and row.name not in ('memcached', 'redis')]\n"
        "catalogue.list_names('cache'); catalogue.get_notes()\n"
        "heavy = {'acme_redis', 'pluggy', 'msgspec', 'importlib.metadata', 'inspect', 'logging', 'asyncio'}\n"
        "print(states, sorted(heavy & set(sys.modules) - before))"
    )
    assert run_program(program, str(tmp_path)) == "['ready', 'built in', 'shadowed', 'built in'] []"


def test_a_zip_on_the_path_is_asked_through_importlib_metadata(tmp_path: Path) -> None:
    info = install(tmp_path / "unpacked", "acme-redis")
    archive = tmp_path / "acme.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for part in info.iterdir():
            file.write(part, f"{info.name}/{part.name}")
    assert list_rows(archive) == [make_row("acme-redis")]
    assert list_rows(tmp_path / "unpacked", archive) == [make_row("acme-redis")]


def test_a_file_on_the_path_that_is_not_a_zip_is_ignored(tmp_path: Path) -> None:
    install(tmp_path, "acme-redis")
    (tmp_path / "torn.zip").write_bytes(b"PK\3\4 torn")
    assert list_rows(tmp_path / "torn.zip", tmp_path / "absent.zip", tmp_path) == [make_row("acme-redis")]


class Finder:
    """Finds one distribution that is in no folder of the path."""

    def __init__(self, info: Path) -> None:
        self.info = info

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, _: object) -> Iterator[importlib.metadata.Distribution]:
        yield importlib.metadata.PathDistribution(self.info)
        raise RuntimeError("no more")


def test_a_finder_of_another_kind_is_asked_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = install(tmp_path / "elsewhere", "acme-redis")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(info)])
    assert list_rows(tmp_path) == [make_row("acme-redis")]
    (note,) = list_notes(tmp_path)
    assert note.endswith("cannot be searched: RuntimeError: no more")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (b"[llmcore.cache]\nredis = \xff\xfe", "entry_points.txt is not UTF-8 text: invalid start byte at byte 24"),
        (b"\0" * 64, "entry_points.txt is not text: it contains zero bytes"),
        (b"[llmcore.cache\nredis = a", "entry_points.txt, line 1: `[llmcore.cache` is not in a group"),
        (
            b"[llmcore.cache]\nredis",
            "entry_points.txt, line 2: an entry of [llmcore.cache] must be `name = module`, got `redis`",
        ),
        (
            b"[llmcore.caches]\nredis = a",
            "entry_points.txt, line 1: [llmcore.caches] is not a group of llmcore; did you mean [llmcore.cache]?",
        ),
        (
            b"[llmcore.cache]\nother = a\nother = b",
            "entry_points.txt, line 3: [llmcore.cache] has `other` twice; the first one counts",
        ),
    ],
)  # fmt: skip
def test_damaged_metadata_is_a_note_and_its_neighbours_are_found(
    tmp_path: Path, entries: bytes, said: str
) -> None:
    install(tmp_path, "a-damaged", entries)
    install(tmp_path, "acme-redis")
    assert make_row("acme-redis") in list_rows(tmp_path)
    assert said in [note.removeprefix("a-damaged: ") for note in list_notes(tmp_path)]


def test_metadata_that_is_a_folder_is_a_note(tmp_path: Path) -> None:
    (install(tmp_path, "acme-redis", None) / "entry_points.txt").mkdir()
    assert list_notes(tmp_path) == ["acme-redis: entry_points.txt cannot be read: Is a directory"]


def test_an_entry_that_names_no_module_is_listed_as_broken(tmp_path: Path) -> None:
    install(tmp_path, "acme", "[llmcore.cache]\nnone =\nodd = a-b.c\n[llmcore.commands]\nhello = acme\n")
    assert [(found.name, found.state, found.why) for found in list_rows(tmp_path)] == [
        ("none", "broken", "its entry point must be `name = module`, got `none =`"),
        ("odd", "broken", "its entry point must be `name = module`, got `odd = a-b.c`"),
        (
            "hello",
            "broken",
            "its entry point must be `name = module:function`, got `hello = acme`",
        ),
    ]


@given(st.binary(max_size=200) | st.text("[]=.:# \nlmcorecache\0", max_size=200).map(str.encode))
def test_no_content_of_an_entry_points_file_stops_the_search(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "a-damaged", b"[llmcore.cache]\n" + data)
    install(folder, "acme-redis")
    assert "acme-redis" in {claim.distribution for claim in discover([str(folder)]).claims}


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", fullmatch=True))
def test_names_of_distributions_compare_as_the_standard_says(name: str) -> None:
    assert normalise_name(name) == re.sub(r"[-_.]+", "-", name).lower()
    assert normalise_name(normalise_name(name)) == normalise_name(name)


def test_the_same_entries_are_found_as_by_importlib_metadata() -> None:
    expected = {
        (kind, entry.name, entry.module)
        for group, kind in GROUPS.items()
        for entry in importlib.metadata.entry_points(group=group)
    }
    found = discover(sys.path)
    assert {(claim.kind, claim.name, claim.module) for claim in found.claims} == expected
    names = {normalise_name(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    assert set(found.distributions) == names
