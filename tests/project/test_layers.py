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

LAYERS = (
    (
        "atomic_write",
        "batch_types",
        "deprecations",
        "embedding_types",
        "error_base",
        "error_codes",
        "errors",
        "event_types",
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
    ("__init__",),  # the public interface: `import llmcore`
    ("__main__", "cli"),
)
LAYER_OF = {name: level for level, names in enumerate(LAYERS, start=1) for name in names}
FOR_PLUGINS = {"contracts", "errors", "hookspecs", "support", "types", "units"}
FOR_BUILTINS = FOR_PLUGINS | {"builtin", "log"}
TESTING = "llmcore_testing"
"""The distribution of the simulator and the kits: it tests the host, so it may import any layer."""
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


def find_package(name: str) -> str:
    """Return the package or module directly in llmcore that contains *name*, such as `cache` for `llmcore.cache.codec`."""
    parts = name.split(".")
    if len(parts) == 1:
        return "__init__"
    known = (ROOT / "llmcore" / parts[1]).is_dir() or (ROOT / "llmcore" / f"{parts[1]}.py").is_file()
    return parts[1] if known else "__init__"  # `from llmcore import load` reads `llmcore/__init__.py`


@functools.cache
def list_imports(text: str, module: str) -> tuple[Import, ...]:
    """Return all imports of *text*, the source of *module*, those in functions included."""
    return tuple(_read_imports(text, module))


def _read_imports(text: str, module: str) -> Iterator[Import]:
    package = module.rpartition(".")[0]
    nodes = [*ast.walk(ast.parse(text))]
    lazy_lines = {line for node in nodes if _is_lazy(node) for line in _get_lines(node)}
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


def _get_lines(node: ast.AST) -> range:
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    return range(first, last + 1)


def find_module(path: Path) -> str:
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    return ".".join(path.relative_to(package.parent).with_suffix("").parts)


def _check_host(module: str, found: Import) -> str | None:
    package, wanted = module.split(".")[1], find_package(found.name)
    if package == "testing":
        return None
    highest = len(LAYERS)
    rules = (
        (wanted == "testing", "llmcore.testing is the old name of llmcore_testing, for applications"),
        (
            package == "builtin" and wanted not in FOR_BUILTINS,
            f"llmcore.builtin imports only what a plugin may import: {', '.join(sorted(FOR_BUILTINS))}",
        ),
        (
            wanted == "builtin" and package != "builtin" and not found.lazy,
            "the host finds its built-in backends like any plugin, and imports none at the top of a module",
        ),
        (
            package in CLIENTS and wanted in CLIENTS - {package},
            f"`{package}` and `{wanted}` share the modules of `calls` and `pipeline`, and must not import each other's",
        ),
        (
            wanted not in LAYER_OF,
            f"`{wanted}` is in no layer: add it to LAYERS of tests/project/test_layers.py",
        ),
        (
            package == "__init__" and not found.lazy and wanted not in LAYERS[0],
            "`llmcore` imports this inside a function, because `import llmcore` must be fast",
        ),
        (
            LAYER_OF.get(wanted, highest) > LAYER_OF.get(package, highest),
            f"`{package}` (layer {LAYER_OF.get(package)}) must not import `{wanted}` (layer {LAYER_OF.get(wanted)})",
        ),
    )
    return next((message for is_broken, message in rules if is_broken), None)


def _check_other_distribution(module: str, found: Import) -> str | None:
    package = module.split(".")[1]
    if found.name.split(".")[0] != TESTING:
        return "the host must not import a plugin"
    if package == "testing" or (package == "cli" and found.lazy):
        return None
    return "only the command line may import llmcore_testing, inside a function"


def _check_plugin(module: str, found: Import) -> str | None:
    own, top = module.split(".", maxsplit=1)[0], found.name.split(".")[0]
    if own == TESTING:
        return None
    if BUILDS_ON.get(own) == top:
        parts = found.name.split(".")
        is_open = len(parts) == 1 or parts[1] in OPEN_MODULES
        return (
            None
            if is_open
            else f"from the plugin that it builds on, a plugin imports only {', '.join(sorted(OPEN_MODULES))}"
        )
    if top.startswith("llmcore_") and top != own:
        return f"a plugin must not import another plugin ({top})"
    wanted = find_package(found.name)
    if top != "llmcore" or wanted in FOR_PLUGINS:
        return None
    if wanted == "__init__":
        return None if found.lazy else "a plugin imports the public llmcore only inside a function"
    return f"from llmcore, a plugin imports only {', '.join(sorted(FOR_PLUGINS))}, not `{wanted}`"


def find_faults(text: str, module: str) -> list[str]:
    """Return every import of *text* that breaks a rule, as `line: what is wrong`."""
    faults = []
    for found in list_imports(text, module):
        top = found.name.split(".")[0]
        if top in {"tests", "plugins", "benchmarks", "examples"}:
            fault: str | None = f"`{top}` is not part of what is installed"
        elif top == "llmcore" and module.startswith("llmcore."):
            fault = _check_host(module, found)
        elif top.startswith("llmcore") and not module.startswith("llmcore."):
            fault = _check_plugin(module, found)
        else:
            fault = _check_other_distribution(module, found) if top.startswith("llmcore_") else None
        if fault:
            faults.append(f"{found.line}: imports {found.name}: {fault}")
    return faults


@pytest.mark.slow
def test_each_module_imports_from_its_layer_or_a_lower_one() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in FILES
        for fault in find_faults(path.read_text(), find_module(path))
    ]
    assert not faults, "\n".join(faults)


def test_every_module_has_a_layer() -> None:
    unplaced = {
        find_module(path).split(".")[1] for path in FILES if path.is_relative_to(ROOT / "llmcore")
    } - {
        *LAYER_OF,
        "testing",
    }
    assert not unplaced, f"add these to LAYERS of tests/project/test_layers.py: {sorted(unplaced)}"


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("llmcore.errors", "import llmcore.types", None),
        ("llmcore.errors", "from llmcore.contracts.llm import LLMProvider", "must not import `contracts`"),
        ("llmcore.cache.codec", "def f():\n    from llmcore.llm import key", "must not import `llm`"),
        ("llmcore.cache.codec", "from ..core import Core", "must not import `core`"),
        ("llmcore.cache.codec", "from .stats import Stats", None),
        ("llmcore.core", "from llmcore import load", "must not import `__init__`"),
        ("llmcore.core", "import importlib\nimportlib.import_module('llmcore.cli')", "must not import `cli`"),
        ("llmcore.core", "import llmcore.attic", "must not import `__init__`"),
        ("llmcore.cli.demo", "def run():\n    from llmcore_testing import simulator", None),
        ("llmcore.testing.__init__", "import llmcore_testing", None),
        ("llmcore.cli.demo", "from llmcore_testing import simulator", "inside a function"),
        ("llmcore.core", "def f():\n    import llmcore_testing", "only the command line"),
        ("llmcore.core", "def f():\n    import llmcore.testing", "the old name"),
        ("llmcore_testing.kit", "from llmcore import forks", None),
        ("llmcore_x.plugin", "import llmcore_testing", "must not import another plugin"),
        ("llmcore.builtin.echo", "from llmcore.config import layers", "what a plugin may import"),
        ("llmcore.cache.tier", "from llmcore.builtin.memory_cache import MemoryCache", "like any plugin"),
        ("llmcore.voice.request", "from llmcore.llm.options import CacheUse", "must not import each other's"),
        ("llmcore.__init__", "from llmcore import core", "inside a function"),
        ("llmcore.core", "import llmcore_storage_fs", "must not import a plugin"),
        ("llmcore.core", "import plugins.storage_fs", "not part of what is installed"),
        ("llmcore_x.plugin", "from llmcore.hookspecs import hookimpl", None),
        ("llmcore_x.plugin", "from llmcore.config import layers", "not `config`"),
        ("llmcore_x.plugin", "import llmcore_y", "must not import another plugin"),
        ("llmcore_openai_compatible.provider", "from llmcore_openai_optimized.client import OpenAIClient", None),
        ("llmcore_openai_compatible.provider", "import llmcore_openai_optimized.http", "that it builds on"),
        ("llmcore_openai_optimized.client", "import llmcore_openai_compatible", "must not import another plugin"),
        ("llmcore_x.compat", "import llmcore", "inside a function"),
        ("llmcore_x.compat", "def f():\n    import llmcore", None),
    ],
)  # fmt: skip
def test_the_rules_find_forbidden_imports(module: str, text: str, expected: str | None) -> None:
    faults = find_faults(text, module)
    assert (faults == []) if expected is None else (expected in "".join(faults))


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
def test_a_plugin_depends_on_the_plugin_that_it_builds_on(package: Path) -> None:
    base = BUILDS_ON.get(package.name)
    assert base is None or base in _read_declared(package.parent / "pyproject.toml")


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_import_is_a_declared_dependency(package: Path) -> None:
    # A plugin depends on the host, so the host's dependencies are installed too.
    declared = _read_declared(ROOT / "pyproject.toml") | _read_declared(package.parent / "pyproject.toml")
    undeclared = {
        f"{path.relative_to(ROOT)}:{found.line}: {found.name} not in the `dependencies` of its pyproject.toml"
        for path in package.rglob("*.py")
        for found in list_imports(path.read_text(), find_module(path))
        if (top := found.name.split(".")[0]) not in sys.stdlib_module_names
        and not top.startswith("llmcore")
        and top.lower() not in declared
        and not (found.lazy and top == "typing_extensions")  # a dependency of every type checker
    }
    assert not undeclared, "\n".join(sorted(undeclared))


@pytest.mark.parametrize("folder", ["llmcore", "plugins", "tests", "benchmarks", "examples"])
def test_no_file_is_too_long(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > LONGEST_FILE
    ]
    assert not long, f"split these files, which have more than {LONGEST_FILE} lines: {long}"
