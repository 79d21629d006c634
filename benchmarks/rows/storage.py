"""Files on a disk: the cost of put, get and list, compared with plain file I/O, fsspec and obstore; the memory of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.clients import TIMED
from benchmarks.environments import ROOT, Environment
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import FSSPEC, OBSTORE

FILES = 100_000
FOLDERS = 100

# Each offers put, get, listed, put_stream and get_stream, on the folder `root`.
PLAIN = """
def get(key):
    with open(root + "/" + key, "rb") as file:
        return file.read()

def listed():
    return sorted(f"{base}/{name}"[len(root) + 1:] for base, _, names in os.walk(root) for name in names)

def put_stream(key, pieces):
    with open(root + "/" + key, "wb") as file:
        for piece in pieces:
            file.write(piece)

def get_stream(key):
    with open(root + "/" + key, "rb") as file:
        yield from iter(lambda: file.read(1 << 20), b"")
"""
WAYS = {
    "plain files, as safely: temporary name, fsync, rename, fsync": f"""
{PLAIN}
def put(key, data):
    path = root + "/" + key
    with open(path + ".new", "wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
    os.replace(path + ".new", path)
    fd = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
""",
    "plain files, open and write": f"""
{PLAIN}
def put(key, data):
    with open(root + "/" + key, "wb") as file:
        file.write(data)
""",
    "llmcore FsStorage": """
from llmcore_storage_fs.provider import FsStorage
storage = FsStorage(root)
put, get, listed = storage.save, storage.load, storage.list_files
put_stream, get_stream = storage.save_stream, storage.load_stream
""",
    "llmcore core.storage": """
import llmcore
storage = llmcore.load({"storage": {"provider": "fs", "fs": {"root": root}}}).storage
put, get, listed = storage.save, storage.load, storage.list_files
put_stream, get_stream = storage.save_stream, storage.load_stream
""",
    "fsspec": """
from fsspec.implementations.local import LocalFileSystem
system = LocalFileSystem()

def put(key, data):
    system.pipe_file(root + "/" + key, data)

def get(key):
    return system.cat_file(root + "/" + key)

def listed():
    return system.find(root)

def put_stream(key, pieces):
    with system.open(root + "/" + key, "wb") as file:
        for piece in pieces:
            file.write(piece)

def get_stream(key):
    with system.open(root + "/" + key, "rb") as file:
        yield from iter(lambda: file.read(1 << 20), b"")
""",
    "obstore LocalStore": """
import obstore
from obstore.store import LocalStore
store = LocalStore(root)

def put(key, data):
    obstore.put(store, key, data)

def get(key):
    return bytes(obstore.get(store, key).bytes())

def listed():
    return sorted(meta["path"] for meta in obstore.list(store).collect())

def put_stream(key, pieces):
    obstore.put(store, key, pieces)

def get_stream(key):
    return iter(obstore.get(store, key).stream(1 << 20))
""",
}
PEERS: Mapping[str, tuple[str, ...]] = {"fsspec": FSSPEC, "obstore LocalStore": OBSTORE}

PROGRAM = f"""
import os
{TIMED}
what, root = sys.argv[1], sys.argv[2]
#WAY

SMALL = bytes(range(256)) * 4
LARGE = os.urandom(1 << 20) * (100 if what.endswith("large") else 0)
if what == "put small":
    names = iter([f"small/{{n % 500}}" for n in range(4400)])
    timed("put(next(names), SMALL)", 2000, put=put, names=names, SMALL=SMALL)
elif what == "get small":
    put("small/get", SMALL)
    assert get("small/get") == SMALL
    timed("get('small/get')", 5000, get=get)
elif what == "put large":
    timed("put('large', LARGE)", 3, few=1, put=put, LARGE=LARGE)
elif what == "get large":
    put("large", LARGE)
    assert get("large") == LARGE
    timed("get('large')", 5, few=1, get=get)
elif what == "list":
    assert len(list(listed())) >= {FILES}
    timed("listed()", 2, few=1, listed=listed)
else:
    import resource
    piece = bytes(1 << 20)
    put_stream("huge", (piece for _ in range(1024)))
    assert sum(map(len, get_stream("huge"))) == 1 << 30
    os.unlink(root + "/huge")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Create the files to list, then compare."""
    # next to the environments, because a temporary folder may be in memory
    with TemporaryDirectory(prefix="files-", dir=ROOT / ".cache/bench") as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        (few / "small").mkdir(parents=True)
        for number in range(FILES):
            place = many / f"{number % FOLDERS:03}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06}.txt").touch()
        ways = {name: _find_environment(shop, name) for name in WAYS}
        yield [
            _make_row("put 1 KB", "put small", few, ways),
            _make_row("get 1 KB", "get small", few, ways),
            _make_row("put 100 MB", "put large", few, ways, rounds=3),
            _make_row("get 100 MB", "get large", few, ways, rounds=3),
            _make_row(f"list {FILES:,} files in {FOLDERS} folders", "list", many, ways, rounds=3),
            _make_row(
                "put and get a stream of 1 GB: memory at the peak, Python's own included",
                "memory",
                few,
                ways,
                unit="MB",
            ),
        ]


def _find_environment(shop: Workshop, name: str) -> Environment | str:
    return shop.rival(*PEERS[name]) if name in PEERS else shop.host()


def _make_row(
    title: str,
    what: str,
    root: Path,
    ways: Mapping[str, Environment | str],
    *,
    rounds: int = 5,
    unit: str = "us of CPU each",
) -> Row:
    sides = [
        Side(
            name=name,
            environment=environment,
            arguments=("-c", PROGRAM.replace("#WAY", WAYS[name]), what, str(root)),
            peer=name in PEERS,
        )
        for name, environment in ways.items()
        if what in ("put small", "put large") or name != "plain files, open and write"
    ]
    return Row(title=title, sides=sides, unit=unit, rounds=rounds, exact=unit == "MB")
