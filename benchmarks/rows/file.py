"""Values of 1 KB in files: the cost of get and set by number of entries, and with concurrent processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.clients import TIMED, TOGETHER
from benchmarks.environments import ROOT, Environment
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import DISKCACHE

SIZES = {"1e3": 1_000, "1e5": 100_000}
LARGE = {"1e6": 1_000_000}
MIXED = "1e5"

STORES = {
    "raw lmdb, a transaction each, sync off": """
import lmdb
env = lmdb.open(folder, map_size=2**33, sync=False, metasync=False)

def get(key):
    with env.begin() as txn:
        return txn.get(key.encode())

def put(key, value):
    with env.begin(write=True) as txn:
        txn.put(key.encode(), value)

def fill(pairs):  # as a cache is filled: what one transaction writes lies closer together
    for key, value in pairs:
        put(key, value)

close = env.close
""",
    "llmcore FileCache": """
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
from llmcore.types import Size
cache = FileCache(FileOptions(cache_dir=folder, max_size=Size(2**33)))
get, put, close = cache.get, cache.set, cache.close

def fill(pairs):
    for key, value in pairs:
        put(key, value)
""",
    "sqlite, WAL": """
import sqlite3
base = sqlite3.connect(folder + "/data.db", timeout=60, isolation_level=None)
base.execute("PRAGMA journal_mode=WAL")
base.execute("PRAGMA synchronous=NORMAL")
base.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

def get(key):
    row = base.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
    return row and row[0]

def put(key, value):
    base.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, value))

def fill(pairs):
    base.execute("BEGIN")
    base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", pairs)
    base.execute("COMMIT")

close = base.close
""",
    "diskcache": """
from diskcache import Cache
cache = Cache(folder, size_limit=2**33, timeout=60)
get, put, close = cache.get, cache.set, cache.close

def fill(pairs):
    with cache.transact():
        for key, value in pairs:
            put(key, value)
""",
}

PROGRAM = f"""
{TIMED}
{TOGETHER}
import hashlib, os, random

what, folder, entries = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.makedirs(folder, exist_ok=True)
VALUE = random.Random(1).randbytes(1024)
MANY = 10_000

def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()

def drawn(count):
    return [key(random.randrange(entries)) for _ in range(count)]

def mixed(count):
    for number, name in enumerate(drawn(count)):
        if number % 10:
            assert get(name)
        else:
            put(name, VALUE)

#STORE

if what == "fill":
    fill((key(number), VALUE) for number in range(entries))
    close()
elif what == "get":
    assert all(get(name) == VALUE for name in drawn(100))
    timed("get(name())", MANY, close, get=get, name=iter(drawn(2 * MANY)).__next__)
elif what == "set":
    timed("put(name(), value)", MANY // 2, close, put=put, name=iter(drawn(MANY)).__next__, value=VALUE)
elif what == "worker":
    mixed(100)
    ready()
    started = time.process_time()
    mixed(entries_each := int(sys.argv[4]))
    print((time.process_time() - started) / entries_each * 1e6)
else:
    count = int(what)
    figures = together(count, "worker", folder, str(entries), str(16_000 // count))
    print(sum(map(float, figures)) / count)
"""


class Store(NamedTuple):
    """A kind of store, and the folders of its files for each number of entries."""

    name: str
    environment: Environment | str
    program: str
    folder: Path


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Fill each store with each number of entries, then compare."""
    sizes = {**SIZES, **(LARGE if shop.large else {})}
    # next to the environments, because a temporary folder may be in memory
    with TemporaryDirectory(prefix="stores-", dir=ROOT / ".cache/bench") as folder:
        stores = [
            Store(
                name,
                shop.rival(*DISKCACHE) if name == "diskcache" else shop.host(),
                PROGRAM.replace("#STORE", text),
                Path(folder, str(number)),
            )
            for number, (name, text) in enumerate(STORES.items())
        ]
        for store in stores:
            for size, entries in sizes.items():
                _fill(store, size, entries)
        bounds = {("get", "1e6"): 1.6, ("set", "1e6"): 1.4}
        single = [
            _make_row(f"{what} at {size} entries", stores, what, size, bounds.get((what, size)))
            for size in sizes
            for what in ("get", "set")
        ]
        several = [
            _make_row(f"9 gets to 1 set, {count} processes", stores, str(count), MIXED) for count in (2, 8)
        ]
        yield [*single, *several]


def _make_row(title: str, stores: Sequence[Store], what: str, size: str, bound: float | None = None) -> Row:
    entries = {**SIZES, **LARGE}[size]
    sides = [
        Side(
            name=store.name,
            environment=store.environment,
            arguments=("-c", store.program, what, str(store.folder / size), str(entries)),
            at_most=bound if store.name.startswith("llmcore") else None,
            peer=store.name == "diskcache",
            rounds=2 if what.isdigit() and store.name == "diskcache" else None,
        )
        for store in stores
    ]
    return Row(title=title, sides=sides, unit="us of CPU each", rounds=5)


def _fill(store: Store, size: str, entries: int) -> None:
    if isinstance(store.environment, str):
        return
    folder = store.folder / size
    folder.mkdir(parents=True)
    done = store.environment.run("-c", store.program, "fill", str(folder), str(entries), cwd=store.folder)
    if done.returncode:
        raise RuntimeError(f"{store.name} cannot be filled:\n{done.stderr}")
