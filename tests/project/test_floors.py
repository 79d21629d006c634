"""The layers of the host, read from the imports: a module imports from its own layer or a lower one."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

FLOORS = (
    (
        "atomic_write",
        "batch_types",
        "deprecations",
        "embedding_types",
        "error_base",
        "error_codes",
        "errors",
        "forks",
        "frames",
        "install_lines",
        "interrupts",
        "log",
        "process_bound",
        "threads",
        "types",
        "units",
        "usage_types",
        "voice_types",
    ),
    ("contracts", "support"),
    ("builtin", "compat", "hookspecs"),
    (
        "config",
        "discovery",
        "hidden_modules",
        "loading",
        "missing_plugin",
        "plain_hooks",
        "plugin_faults",
        "plugin_import",
        "plugins",
    ),
    ("calls",),
    ("cache", "content_log", "ledger"),
    ("pipeline",),
    ("llm", "storage", "voice"),
    ("batch_worker", "core"),
    ("__init__",),  # the public face: `import llmcore`
    ("__main__", "cli"),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
FOR_PLUGINS = {"contracts", "errors", "hookspecs", "support", "types", "units"}
FOR_BUILTINS = FOR_PLUGINS | {"builtin", "log"}
TESTING = "llmcore_testing"
"""The distribution of the simulator and the kits: it tests the host, so it may import any floor."""
BUILDS_ON = {
    "llmcore_any_llm": "llmcore_openai_optimized",
    "llmcore_gateway": "llmcore_dashboard",
    "llmcore_openai_compatible": "llmcore_openai_optimized",
}
"""A plugin that reuses the client of another one, so that no request logic is written twice."""
OPEN_MODULES = frozenset({"account", "bounds", "client", "documents", "prices", "tokens"})
"""The modules of a plugin that others may build on."""
CLIENTS = {"llm", "storage", "voice"}
LONGEST_FILE = 400

PACKAGES = [ROOT / "llmcore", *sorted(ROOT.glob("plugins/*/llmcore_*"))]
FILES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


class Import(NamedTuple):
    """One name that a file imports."""

    line: int
    name: str
    lazy: bool
    """Inside a function, or only for the type checker."""


def room_of(name: str) -> str:
    """Return the part of llmcore that contains *name*, such as `llmcore.cache.codec`."""
    parts = name.split(".")
    if len(parts) == 1:
        return "__init__"
    known = (ROOT / "llmcore" / parts[1]).is_dir() or (ROOT / "llmcore" / f"{parts[1]}.py").is_file()
    return parts[1] if known else "__init__"  # `from llmcore import load` asks the face


@functools.cache
def imports_of(text: str, module: str) -> tuple[Import, ...]:
    """Return what *text*, the source of *module*, imports, wherever it does so."""
    return tuple(_read_imports(text, module))


def _read_imports(text: str, module: str) -> Iterator[Import]:
    package = module.rpartition(".")[0]
    nodes = [*ast.walk(ast.parse(text))]
    lazy_lines = {line for node in nodes if _is_lazy(node) for line in _lines(node)}
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = ".".join(module.split(".")[: -node.level])
            base = ".".join(part for part in (package if node.level else "", node.module) if part)
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "llmcore" else [base]
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            names = [
                arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
        else:
            continue
        yield from (Import(node.lineno, name, node.lineno in lazy_lines) for name in names)


def _is_import_module(node: ast.expr) -> bool:
    # Without ast.unparse, which takes a second for the calls of all files.
    if isinstance(node, ast.Attribute):
        return (
            node.attr == "import_module" and isinstance(node.value, ast.Name) and node.value.id == "importlib"
        )
    return isinstance(node, ast.Name) and node.id == "import_module"


def _is_lazy(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _lines(node: ast.AST) -> range:
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    return range(first, last + 1)


def module_of(path: Path) -> str:
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    return ".".join(path.relative_to(package.parent).with_suffix("").parts)


def _host_fault(module: str, found: Import) -> str | None:
    room, wanted = module.split(".")[1], room_of(found.name)
    if room == "testing":
        return None
    top_floor = len(FLOORS)
    rules = (
        (wanted == "testing", "llmcore.testing is the old name of llmcore_testing, for applications"),
        (
            room == "builtin" and wanted not in FOR_BUILTINS,
            f"llmcore.builtin keeps to what a plugin may import: {', '.join(sorted(FOR_BUILTINS))}",
        ),
        (
            wanted == "builtin" and room != "builtin" and not found.lazy,
            "the host finds its built-in backends as it finds any plugin, and imports none at the top",
        ),
        (
            room in CLIENTS and wanted in CLIENTS - {room},
            f"`{room}` and `{wanted}` share what is in `calls` and `pipeline`, not each other's modules",
        ),
        (
            wanted not in LEVEL,
            f"`{wanted}` stands on no floor: give it one in FLOORS of tests/project/test_floors.py",
        ),
        (
            room == "__init__" and not found.lazy and wanted not in FLOORS[0],
            "the public face imports this lazily, inside a function, so that `import llmcore` stays free",
        ),
        (
            LEVEL.get(wanted, top_floor) > LEVEL.get(room, top_floor),
            f"`{room}` (floor {LEVEL.get(room)}) may not lean on `{wanted}` (floor {LEVEL.get(wanted)})",
        ),
    )
    return next((said for broken, said in rules if broken), None)


def _other_distribution_fault(module: str, found: Import) -> str | None:
    room = module.split(".")[1]
    if found.name.split(".")[0] != TESTING:
        return "the host knows no plugin"
    if room == "testing" or (room == "cli" and found.lazy):
        return None
    return "only the command line may import llmcore_testing, inside a function"


def _plugin_fault(module: str, found: Import) -> str | None:
    own, top = module.split(".", maxsplit=1)[0], found.name.split(".")[0]
    if own == TESTING:
        return None
    if BUILDS_ON.get(own) == top:
        parts = found.name.split(".")
        is_open = len(parts) == 1 or parts[1] in OPEN_MODULES
        return (
            None
            if is_open
            else f"a plugin imports of the one it builds on only {', '.join(sorted(OPEN_MODULES))}"
        )
    if top.startswith("llmcore_") and top != own:
        return f"a plugin never imports another plugin ({top})"
    wanted = room_of(found.name)
    if top != "llmcore" or wanted in FOR_PLUGINS:
        return None
    if wanted == "__init__":
        return None if found.lazy else "a face imports the public llmcore inside a function, when it is built"
    return f"a plugin imports of llmcore only {', '.join(sorted(FOR_PLUGINS))}, not `{wanted}`"


def faults_in(text: str, module: str) -> list[str]:
    """Return every import of *text* that breaks a rule, as `line: what is wrong`."""
    faults = []
    for found in imports_of(text, module):
        top = found.name.split(".")[0]
        if top in {"tests", "plugins", "benchmarks", "examples"}:
            fault: str | None = f"`{top}` is no part of what is installed"
        elif top == "llmcore" and module.startswith("llmcore."):
            fault = _host_fault(module, found)
        elif top.startswith("llmcore") and not module.startswith("llmcore."):
            fault = _plugin_fault(module, found)
        else:
            fault = _other_distribution_fault(module, found) if top.startswith("llmcore_") else None
        if fault:
            faults.append(f"{found.line}: imports {found.name}: {fault}")
    return faults


@pytest.mark.slow
def test_every_import_stays_on_its_floor_or_goes_down() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in FILES
        for fault in faults_in(path.read_text(), module_of(path))
    ]
    assert not faults, "\n".join(faults)


def test_every_module_has_a_layer() -> None:
    homeless = {module_of(path).split(".")[1] for path in FILES if path.is_relative_to(ROOT / "llmcore")} - {
        *LEVEL,
        "testing",
    }
    assert not homeless, f"give these a floor in FLOORS of tests/project/test_floors.py: {sorted(homeless)}"


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("llmcore.errors", "import llmcore.types", None),
        ("llmcore.errors", "from llmcore.contracts.llm import LLMProvider", "may not lean on `contracts`"),
        ("llmcore.cache.codec", "def f():\n    from llmcore.llm import key", "may not lean on `llm`"),
        ("llmcore.cache.codec", "from ..core import Core", "may not lean on `core`"),
        ("llmcore.cache.codec", "from .stats import Stats", None),
        ("llmcore.core", "from llmcore import load", "may not lean on `__init__`"),
        ("llmcore.core", "import importlib\nimportlib.import_module('llmcore.cli')", "may not lean on `cli`"),
        ("llmcore.core", "import llmcore.attic", "may not lean on `__init__`"),
        ("llmcore.cli.demo", "def run():\n    from llmcore_testing import simulator", None),
        ("llmcore.testing.__init__", "import llmcore_testing", None),
        ("llmcore.cli.demo", "from llmcore_testing import simulator", "inside a function"),
        ("llmcore.core", "def f():\n    import llmcore_testing", "only the command line"),
        ("llmcore.core", "def f():\n    import llmcore.testing", "the old name"),
        ("llmcore_testing.kit", "from llmcore import forks", None),
        ("llmcore_x.plugin", "import llmcore_testing", "never imports another plugin"),
        ("llmcore.builtin.echo", "from llmcore.config import layers", "what a plugin may import"),
        ("llmcore.cache.tier", "from llmcore.builtin.memory_cache import MemoryCache", "as it finds any plugin"),
        ("llmcore.voice.request", "from llmcore.llm.options import CacheUse", "not each other's modules"),
        ("llmcore.__init__", "from llmcore import core", "lazily"),
        ("llmcore.core", "import llmcore_storage_fs", "knows no plugin"),
        ("llmcore.core", "import plugins.storage_fs", "no part of what is installed"),
        ("llmcore_x.plugin", "from llmcore.hookspecs import hookimpl", None),
        ("llmcore_x.plugin", "from llmcore.config import layers", "not `config`"),
        ("llmcore_x.plugin", "import llmcore_y", "never imports another plugin"),
        ("llmcore_openai_compatible.provider", "from llmcore_openai_optimized.client import OpenAIClient", None),
        ("llmcore_openai_compatible.provider", "import llmcore_openai_optimized.http", "it builds on only"),
        ("llmcore_openai_optimized.client", "import llmcore_openai_compatible", "never imports another plugin"),
        ("llmcore_x.face", "import llmcore", "inside a function"),
        ("llmcore_x.face", "def f():\n    import llmcore", None),
    ],
)  # fmt: skip
def test_the_rules_find_forbidden_imports(module: str, text: str, said: str | None) -> None:
    faults = faults_in(text, module)
    assert (faults == []) if said is None else (said in "".join(faults))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "llmcore" / "contracts").glob("*.py")), ids=lambda path: path.stem
)
def test_a_contract_has_no_implementation(path: Path) -> None:
    own = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases))
    ]
    assert not own, f"move these to llmcore/support/: {[node.name for node in own]}"


IMPORT_NAMES = {"any_llm_sdk": "any_llm", "opentelemetry_api": "opentelemetry"}
"""Distributions whose package has another name."""


def _read_declared(pyproject: Path) -> set[str]:
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in sum(extras, project["dependencies"])]
    found = {re.sub(r"[-_.]+", "_", name).lower() for name in names}
    return {IMPORT_NAMES.get(name, name) for name in found}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_a_plugin_builds_on_is_one_of_its_dependencies(package: Path) -> None:
    base = BUILDS_ON.get(package.name)
    assert base is None or base in _read_declared(package.parent / "pyproject.toml")


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_import_is_of_something_declared(package: Path) -> None:
    # The host's own dependencies come with it, so a plugin may count on them.
    declared = _read_declared(ROOT / "pyproject.toml") | _read_declared(package.parent / "pyproject.toml")
    undeclared = {
        f"{path.relative_to(ROOT)}:{found.line}: {found.name} is in no `dependencies` of its pyproject.toml"
        for path in package.rglob("*.py")
        for found in imports_of(path.read_text(), module_of(path))
        if (top := found.name.split(".")[0]) not in sys.stdlib_module_names
        and not top.startswith("llmcore")
        and top.lower() not in declared
        and not (found.lazy and top == "typing_extensions")  # every type checker brings it
    }
    assert not undeclared, "\n".join(sorted(undeclared))


@pytest.mark.parametrize("folder", ["llmcore", "plugins", "tests", "benchmarks", "examples"])
def test_no_file_is_longer_than_a_person_reads_at_once(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > LONGEST_FILE
    ]
    assert not long, f"over {LONGEST_FILE} lines, so due to be split: {long}"


def _find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a cycle; empty if there is none."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for target in sorted(graph.get(module, ())):
            if cycle := visit(target, [*path, module]):
                return cycle
        finished.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


@pytest.mark.parametrize(
    "package",
    [package for package in PACKAGES if (package / "plugin.py").is_file()],
    ids=lambda package: package.name,
)
def test_the_modules_of_a_plugin_import_each_other_in_one_direction(package: Path) -> None:
    modules = {module_of(path): path for path in FILES if path.is_relative_to(package)}
    graph = {
        module: {
            target
            for found in imports_of(path.read_text(), module)
            if (target := found.name) in modules and target != module
        }
        for module, path in modules.items()
    }
    assert _find_cycle(graph) == []
    assert (package / "options.py").is_file(), "the options are in options.py, which every module may import"


def test_a_cycle_is_found() -> None:
    graph = {"plugin": {"options", "provider"}, "provider": {"wire"}, "wire": {"plugin"}, "options": set()}
    assert _find_cycle(graph) == ["plugin", "provider", "wire", "plugin"]
