"""Only a named plugin is loaded, once; a broken plugin is a clear error and does not affect the others."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from llmcore.errors import PluginBroken
from llmcore.install_lines import make_install_line
from llmcore.plugins import Catalogue

SOUND = """
from llmcore.hookspecs import Provider, hookimpl

@hookimpl
def llmcore_storage_providers():
    yield Provider(name="{name}", create=dict)
"""


class Site:
    """A folder of installed plugins, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, distribution: str, source: str, *, kind: str = "storage", name: str = "acme", requires: str = ""
    ) -> Path:
        """Install version 1.0 of *distribution*, which offers *name* from a module of that name with *source*."""
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n{needs}")
        module = distribution.replace("-", "_")
        (info / "entry_points.txt").write_text(f"[llmcore.{kind}]\n{name} = {module}\n")
        file = self.folder / f"{module}.py"
        file.write_text(dedent(source).lstrip())
        importlib.invalidate_caches()
        return file

    def catalogue(self) -> Catalogue:
        return Catalogue(env={}, path=[self.folder])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def catch_broken(site: Site, kind: str = "storage", name: str = "acme") -> PluginBroken:
    with pytest.raises(PluginBroken) as caught:
        site.catalogue().load_provider(kind, name)
    return caught.value


def test_a_sound_plugin_gives_its_entry_and_is_imported_once(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="acme") + "\nassert 'seen' not in globals()\nseen = 1\n")
    catalogue = site.catalogue()
    assert [row.state for row in catalogue.list_plugins() if row.name == "acme"] == ["ready"]
    entry = catalogue.load_provider("storage", "acme")
    assert (entry.name, entry.create) == ("acme", dict)
    assert catalogue.load_provider("storage", "acme-one:acme") is entry
    assert [row.state for row in catalogue.list_plugins() if row.name == "acme"] == ["loaded"]


def test_the_built_in_backends_come_through_the_same_door() -> None:
    catalogue = Catalogue(env={"LLMCORE_PLUGINS": "none"}, path=[])
    names = [("llm", "echo"), ("cache", "memory"), ("cache", "file"), ("cache", "LLMcore_Host:file")]
    entries = [catalogue.load_provider(kind, name) for kind, name in names]
    assert [entry.name for entry in entries] == ["echo", "memory", "file", "file"]
    assert {entry.create.__module__ for entry in entries} == {"llmcore.builtin.plugin"}


@pytest.mark.parametrize(
    ("marker", "is_checked"),
    [("@hookimpl", False), ("@hookimpl(tryfirst=True)", True), ("@pluggy.HookimplMarker('llmcore')", True)],
)
def test_pluggy_is_loaded_only_for_hooks_that_are_not_plain(
    site: Site, marker: str, *, is_checked: bool
) -> None:
    imports = "import pluggy\n" if "pluggy" in marker else ""
    site.install("acme-one", imports + SOUND.format(name="acme").replace("@hookimpl", marker))
    program = (
        "import sys\nfrom llmcore.plugins import Catalogue\n"
        f"entry = Catalogue(path=[{str(site.folder)!r}]).load_provider('storage', 'acme')\n"
        "print(entry.name, entry.create is dict, 'pluggy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(site.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["acme", "True", str(is_checked)]


def test_one_module_may_serve_several_kinds_and_names(site: Site) -> None:
    file = site.install("acme-many", SOUND.format(name="acme"), name="acme")
    file.write_text(
        SOUND.format(name="acme")
        + "    yield Provider(name='second', create=list)\n"
        + "@hookimpl(specname='llmcore_voice_providers')\ndef voices():\n    return [Provider(name='acme', create=set)]\n"
        + "@hookimpl\ndef llmcore_observers():\n    return (Provider(name='watch', create=tuple),)\n"
    )
    entries = "[llmcore.storage]\nacme = acme_many\nsecond = acme_many\n[llmcore.voice]\nacme = acme_many\n"
    info = site.folder / "acme_many-1.0.dist-info/entry_points.txt"
    info.write_text(entries + "[llmcore.observers]\nwatch = acme_many\n")
    catalogue = site.catalogue()
    asked = [("storage", "acme"), ("storage", "second"), ("voice", "acme"), ("observers", "watch")]
    assert [catalogue.load_provider(*each).create for each in asked] == [dict, list, set, tuple]


def test_a_missing_dependency_is_named_with_the_line_that_installs_it(site: Site) -> None:
    file = site.install("acme-one", "import os\nimport acme_sdk.client\n", requires="Acme.SDK[fast] (>=2)")
    assert catch_broken(site).render() == dedent(f"""\
        error[LC501]: plugin `acme-one 1.0` did not load: ModuleNotFoundError: No module named 'acme_sdk'
         --> {file}:2
          = note: acme-one needs acme-sdk, which is not installed
          = fix: pip install acme-sdk""")


def test_an_undeclared_missing_module_is_not_mapped_to_a_distribution(site: Site) -> None:
    file = site.install("acme-one", "import acme_sdk\n", requires="something-else")
    assert catch_broken(site).render() == dedent(f"""\
        error[LC501]: plugin `acme-one 1.0` did not load: ModuleNotFoundError: No module named 'acme_sdk'
         --> {file}:1
          = note: the module `acme_sdk` is missing; the metadata of acme-one does not name its distribution
          = fix: pip install --force-reinstall acme-one""")


def test_a_plugin_whose_own_module_is_gone_is_to_be_installed_again(site: Site) -> None:
    site.install("acme-one", "").unlink()
    assert str(catch_broken(site)) == dedent("""\
        plugin `acme-one 1.0` did not load: ModuleNotFoundError: No module named 'acme_one'
          = note: `acme_one` is a part of acme-one: its installation is incomplete
          = fix: pip install --force-reinstall acme-one""")


def test_a_plugin_that_wants_a_newer_host_says_so(site: Site) -> None:
    site.install("acme-one", "import llmcore.not_yet\n")
    assert catch_broken(site).notes == ("`llmcore.not_yet` is not in this version of llmcore-host",)
    assert catch_broken(site).fix == make_install_line("llmcore-host")


@pytest.mark.parametrize(
    ("source", "expected", "line"),
    [
        ("import sys\n\nsys.exit(7)", "SystemExit: 7", 3),
        ("def f():\n    raise ValueError('two\\n  lines')\nf()", "ValueError: two lines", 2),
        ("raise GeneratorExit", "GeneratorExit", 1),
        ("x = (\n", "SyntaxError: '(' was never closed (acme_one.py, line 1)", 1),
        ("from os import nothing", "ImportError: cannot import name 'nothing' from 'os'", 1),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "E", 3),
        ("def __getattr__(name): raise OSError(name)", "OSError: LLMCORE_API", 1),
    ],
)  # fmt: skip
def test_an_exception_during_import_is_reported_with_its_place(
    site: Site, source: str, expected: str, line: int
) -> None:
    file = site.install("acme-one", source)
    error = catch_broken(site)
    assert error.message.startswith(f"plugin `acme-one 1.0` did not load: {expected}")
    assert error.where == f"{file}:{line}"
    assert error.fix == "pip install --upgrade acme-one"


def test_an_error_carries_neither_cause_nor_frames_of_the_plugin(site: Site) -> None:
    site.install("acme-one", "secret = 'sk-123'\nraise ValueError('x')")
    error = catch_broken(site)
    assert (error.__cause__, error.__context__) == (None, None)
    step = error.__traceback__
    while step is not None:
        assert "acme_one" not in step.tb_frame.f_code.co_filename
        step = step.tb_next


def test_a_failure_is_remembered_and_the_plugin_is_not_imported_again(site: Site) -> None:
    site.install("acme-one", "with open(__file__ + '.log', 'a') as log: log.write('x')\nraise ValueError")
    catalogue, errors = site.catalogue(), []
    for _ in range(3):
        with pytest.raises(PluginBroken) as caught:
            catalogue.load_provider("storage", "acme")
        errors.append(caught.value)
    assert len(set(map(str, errors))) == 1
    assert len(set(map(id, errors))) == len(errors)  # raised again, one object would gather tracebacks
    assert (site.folder / "acme_one.py.log").read_text() == "x"
    row = catalogue.inspect("storage", "acme")
    assert (row.state, row.why) == ("broken", "plugin `acme-one 1.0` did not load: ValueError")


def test_threads_that_ask_at_once_get_the_one_entry(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="acme"))
    catalogue, start = site.catalogue(), threading.Barrier(8)

    def ask(_: int) -> object:
        start.wait()
        return catalogue.load_provider("storage", "acme")

    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(id, threads.map(ask, range(8))))) == 1


def test_an_interrupt_passes_through_and_is_not_remembered(site: Site) -> None:
    file = site.install("acme-one", "raise KeyboardInterrupt")
    catalogue = site.catalogue()
    with pytest.raises(KeyboardInterrupt):
        catalogue.load_provider("storage", "acme")
    file.write_text(SOUND.format(name="acme"))
    importlib.invalidate_caches()
    assert catalogue.load_provider("storage", "acme").name == "acme"


@pytest.mark.parametrize(
    ("version", "upgrade"), [(0, "pip install --upgrade acme-one"), (2, make_install_line("llmcore-host"))]
)
def test_a_plugin_for_other_hooks_is_refused_with_both_versions(
    site: Site, version: int, upgrade: str
) -> None:
    file = site.install("acme-one", f"LLMCORE_API = {version}\n{SOUND.format(name='acme')}")
    assert catch_broken(site).render() == dedent(f"""\
        error[LC502]: plugin `acme-one 1.0` was built for version {version} of the hooks, but this host has version 1
         --> {file}
          = expected: LLMCORE_API = 1
          = fix: {upgrade}""")


def test_a_version_that_is_not_a_number_is_rejected(site: Site) -> None:
    site.install("acme-one", f"LLMCORE_API = '1'\n{SOUND.format(name='acme')}")
    error = catch_broken(site)
    assert (error.code, error.fix) == ("LC502", "LLMCORE_API = 1")


def test_a_misspelt_hook_is_an_error_with_the_nearest_name(site: Site) -> None:
    file = site.install(
        "acme-one", SOUND.format(name="acme").replace("storage_providers", "storage_provider")
    )
    assert catch_broken(site).render() == dedent(f"""\
        error[LC106]: plugin `acme-one 1.0` implements a hook that does not exist: `llmcore_storage_provider`
         --> {file}:3
          = expected: llmcore_cache_providers, llmcore_engine_providers, llmcore_ledger_providers, llmcore_llm_providers, llmcore_observers, llmcore_storage_providers, llmcore_tables, llmcore_voice_providers
          = help: did you mean `llmcore_storage_providers`?
          = fix: def llmcore_storage_providers():""")


def test_a_misspelt_hook_next_to_a_correct_one_is_an_error(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="acme") + "@hookimpl\ndef something_else(): ...\n")
    error = catch_broken(site)
    assert error.message == "plugin `acme-one 1.0` implements a hook that does not exist: `something_else`"
    assert error.suggestion is None


def test_a_hook_with_unknown_arguments_is_an_error(site: Site) -> None:
    file = site.install("acme-one", SOUND.format(name="acme").replace("providers()", "providers(config)"))
    assert catch_broken(site).render() == dedent(f"""\
        error[LC106]: plugin `acme-one 1.0` implements a hook with other arguments than specified
         --> {file}
          = expected: def llmcore_storage_providers():
          = note: hookimpl definition: llmcore_storage_providers(config)
          = note: Argument(s) {{'config'}} are declared in the hookimpl but can not be found in the hookspec
          = fix: def llmcore_storage_providers():""")


def test_a_module_without_the_hook_of_its_kind_says_which_it_lacks(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="acme"), kind="voice")
    error = catch_broken(site, "voice")
    assert error.message == "plugin `acme-one 1.0` has no hook `llmcore_voice_providers`"
    assert error.fix == "def llmcore_voice_providers():"


def test_a_hook_without_its_marker_is_distinguished_from_a_missing_one(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="acme").replace("@hookimpl", ""))
    error = catch_broken(site)
    assert error.message == "plugin `acme-one 1.0` has `llmcore_storage_providers` without `@hookimpl`"
    assert error.fix == "@hookimpl"


def test_a_yielded_name_that_differs_from_the_entry_is_reported_with_both(site: Site) -> None:
    site.install("acme-one", SOUND.format(name="akme"))
    assert str(catch_broken(site)) == dedent("""\
        plugin `acme-one 1.0` yields `akme` from `llmcore_storage_providers`, but its entry point has the name `acme`
          = expected: the same name in both
          = fix: Provider(name="acme", ...)""")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "returns an object of type NoneType from `llmcore_storage_providers`"),
        ("yield from ()", "yields nothing from `llmcore_storage_providers`, but its entry point has the name `acme`"),
        ("yield {'name': 'acme'}", "yields an object of type dict from `llmcore_storage_providers`"),
        ("return 'acme'", "yields an object of type str from `llmcore_storage_providers`"),
        ("yield Provider(name=7, create=dict)", "yields a Provider whose name is of type int from"),
        ("yield Provider(name='acme', create='dict')", "yields `acme`, whose `create` is not callable from"),
        ("yield Provider(name='acme', create=dict, options={})", "yields `acme`, whose `options` is not a class from"),
        ("while True: yield Provider(name='acme', create=dict)", "yields `acme` twice from"),
        ("return (Provider(name=f'a{i}', create=dict) for i in range(10**9))", "yields more than 1000 entries from"),
        ("yield Provider(name='acme', create=dict, colour='red')", "failed in `llmcore_storage_providers`: TypeError: "),
        ("raise SystemExit(3)", "failed in `llmcore_storage_providers`: SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_hook_that_does_not_yield_providers_is_broken(site: Site, body: str, said: str) -> None:
    site.install("acme-one", SOUND.partition("    yield")[0] + f"    {body}\n")
    assert catch_broken(site).message.startswith(f"plugin `acme-one 1.0` {said}")


def test_a_hook_that_is_a_coroutine_is_broken_and_python_does_not_warn(site: Site) -> None:
    site.install(
        "acme-one",
        SOUND.partition("@hookimpl")[0] + "@hookimpl\nasync def llmcore_storage_providers(): ...\n",
    )
    assert "returns an object of type coroutine" in catch_broken(site).message


@pytest.mark.parametrize(
    "source",
    [
        "import missing_sdk",
        "raise SystemExit(7)",
        "LLMCORE_API = 9",
        SOUND.format(name="bad").replace("providers", "provider"),
        SOUND.format(name="bad").replace("providers()", "providers(config)"),
        SOUND.format(name="bad").replace("@hookimpl", "@hookimpl(wrapper=True)").replace("    yield", "    raise ValueError; yield"),
    ],
)  # fmt: skip
def test_one_broken_plugin_does_not_touch_the_next(site: Site, source: str) -> None:
    site.install("acme-bad", source, name="bad")
    site.install("acme-good", SOUND.format(name="good"), name="good")
    catalogue = site.catalogue()
    for _ in range(2):
        with pytest.raises(PluginBroken):
            catalogue.load_provider("storage", "bad")
        assert catalogue.load_provider("storage", "good").name == "good"
    states = {row.name: row.state for row in catalogue.list_plugins()}
    assert (states["bad"], states["good"]) == ("broken", "loaded")


def test_a_command_is_loaded_when_it_is_called_for(site: Site) -> None:
    file = site.install(
        "acme-one",
        "class Group:\n    @staticmethod\n    def run(): return 'ran'\nnumber = 7\n",
        kind="commands",
    )
    entries = (
        "[llmcore.commands]\nrun = acme_one:Group.run\nlost = acme_one:Group.lost\nnumber = acme_one:number\n"
    )
    (site.folder / "acme_one-1.0.dist-info/entry_points.txt").write_text(entries + "bare = acme_one\n")
    catalogue = site.catalogue()
    assert catalogue.list_names("commands") == ["bare", "lost", "number", "run"]
    assert "acme_one" not in sys.modules
    assert catalogue.load_command("run")() == "ran"
    assert file.exists()
    messages = {}
    for name in ("lost", "number", "bare"):
        with pytest.raises(PluginBroken) as caught:
            catalogue.load_command(name)
        messages[name] = caught.value.message.removeprefix("plugin `acme-one 1.0` ")
    assert messages == {
        "lost": "has no `acme_one:Group.lost`",
        "number": "names `acme_one:number`, which is not callable",
        "bare": "cannot be used: its entry point must be `name = module:function`, got `bare = acme_one`",
    }
    assert [catalogue.inspect("commands", name).state for name in ("run", "lost")] == ["loaded", "broken"]


def test_a_plugin_that_exits_leaves_the_process_running(site: Site) -> None:
    site.install("acme-one", "import sys; sys.exit(7)")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from llmcore.plugins import Catalogue\n"
        "row = Catalogue(env={}).inspect('storage', 'acme')\n"
        "print(row.state, '|', row.why, '|', 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(site.folder)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "broken | plugin `acme-one 1.0` did not load: SystemExit: 7 | False\n"
