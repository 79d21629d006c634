"""`llmcore plugins check`: run the conformance tests on one configured provider."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from llmcore.cli import plugin_subject
from llmcore.cli.command_errors import UsageError
from llmcore.cli.instances import find_used, load_entry
from llmcore.cli.plugin_audit import Audit, find_slips
from llmcore.cli.plugin_kits import list_not_run, render_tests
from llmcore.cli.plugin_lines import make_plugins_line
from llmcore.cli.plugin_subject import Subject
from llmcore.cli.show import Paint, note, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.config import load_settings
from llmcore.missing_plugin import require_testing
from llmcore.plugins import Catalogue

__all__ = ["check"]

_FAILED: Final = 6
"""The exit code if a test fails, or if no test passes."""
_NAMES: Final = 4
"""Maximum number of tests that are named for one cause of failure."""
_AUTOLOAD: Final = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
_INI: Final = """\
[pytest]
filterwarnings =
    error
    ignore::pytest.PytestAssertRewriteWarning
"""
"""The pytest configuration. It ignores pytest's warning that llmcore was imported before pytest started."""


def check(which: tuple[str, str], args: argparse.Namespace, audit: Audit) -> int:
    """Run the tests on the provider *which* (kind and name). Print the failures and the findings of *audit*."""
    require_testing("`llmcore plugins check`")
    if importlib.util.find_spec("pytest") is None:
        raise UsageError(
            "`llmcore plugins check` needs pytest, which is not installed",
            expected="pytest 8 or later",
            fix="pip install pytest",
        )
    kind, name = which
    catalogue = Catalogue()
    with audit.watch("import"):
        entry = load_entry(kind, name, args, catalogue)
    subject = Subject(kind, entry, args)
    subject.check()
    owner = catalogue.inspect(kind, find_used(kind, name, args))
    warnings = _find_warnings(audit, subject, owner.module)
    model = _choose_model(subject, args) if kind == "llm" else None
    subject.probe(model)
    plugin_subject.under_test = subject
    subject.vary()
    results, output = _run_tests(render_tests(subject, model))
    if args.verbose:
        note(output)
    title = f"{name}, {kind} provider of {owner.distribution} {owner.version}".rstrip()
    skipped = [each["why"] for each in results if each["outcome"] == "skipped"]
    return _print_results(
        results, title, args, output, warnings=warnings, not_run=list_not_run(skipped, subject)
    )


def _find_warnings(audit: Audit, subject: Subject, module: str) -> list[str]:
    """Create the provider. Return the side effects of import and creation, and common mistakes."""
    with tempfile.TemporaryDirectory(prefix="llmcore-check-") as folder, contextlib.ExitStack() as stack:
        with audit.watch("create", folder):
            provider = stack.enter_context(subject.open(Path(folder)))
        return audit.findings + find_slips(subject.kind, subject.entry, module.partition(":")[0], provider)


def _run_tests(source: str) -> tuple[list[dict[str, str]], str]:
    pytest: Any = importlib.import_module("pytest")
    results = _Results()
    with tempfile.TemporaryDirectory(prefix="llmcore-check-") as folder:
        file = Path(folder, "test_provider.py")
        file.write_text(source, encoding="utf-8")
        Path(folder, "pytest.ini").write_text(_INI, encoding="utf-8")
        options = ["-p", "no:cacheprovider", "--import-mode=importlib", "--tb=short", "-v"]
        place = [
            "-c",
            str(Path(folder, "pytest.ini")),
            "--rootdir",
            folder,
            f"--basetemp={Path(folder, 'made')}",
            str(file),
        ]
        with contextlib.redirect_stdout(io.StringIO()) as out, _exclude_pytest_plugins():
            pytest.main([*options, *place], plugins=[results])
    return results.all, out.getvalue()


@contextlib.contextmanager
def _exclude_pytest_plugins() -> Iterator[None]:
    """Prevent pytest from loading installed plugins, which take seconds to import and may change a test."""
    before = os.environ.get(_AUTOLOAD)
    os.environ[_AUTOLOAD] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_AUTOLOAD]
        else:
            os.environ[_AUTOLOAD] = before


class _Results:
    """A pytest plugin that collects the outcome of each test."""

    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record the outcome of each test once, and the errors of fixtures."""
        if report.when != "call" and report.outcome == "passed":
            return
        why = ""
        if report.outcome == "skipped":
            why = str(report.longrepr[-1]).removeprefix("Skipped: ")
        elif report.outcome == "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else report.longreprtext
        name = report.nodeid.rpartition("::")[2]
        self.all.append({"name": name, "outcome": report.outcome, "why": why})

    def pytest_collectreport(self, report: Any) -> None:
        """Record an error in the collection of the tests."""
        if report.failed:
            self.all.append({"name": "collection", "outcome": "failed", "why": report.longreprtext})


def _print_results(
    results: list[dict[str, str]],
    title: str,
    args: argparse.Namespace,
    output: str,
    *,
    warnings: list[str],
    not_run: list[str],
) -> int:
    count = {
        outcome: sum(each["outcome"] == outcome for each in results)
        for outcome in ("passed", "failed", "skipped")
    }
    good = bool(count["passed"]) and not count["failed"]
    if args.json:
        print_json(provider=title, ok=good, **count, warnings=warnings, not_run=not_run, tests=results)
        return 0 if good else _FAILED
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    _print_failures(results, paint)
    if not results:
        put(output)
    for line in not_run:
        put(line)
    for warning in warnings:
        put(f"{paint('yellow', 'warning')} {warning}")
    verdict = paint("green", "fulfils") if good else paint("red", "does not fulfil")
    put(f"{title}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    put(f"the provider {verdict} the contract of its kind")
    return 0 if good else _FAILED


def _print_failures(results: list[dict[str, str]], paint: Paint) -> None:
    """Print each cause once, with the tests that failed for it."""
    tests: dict[str, list[str]] = {}
    for each in results:
        if each["outcome"] == "failed":
            tests.setdefault(each["why"].strip() or "no reason given", []).append(each["name"])
    for why, names in tests.items():
        put(f"{paint('red', 'failed')}  {paint('bold', names[0])}")
        put("\n".join(f"        {line}" for line in why.splitlines()[:12]))
        if len(names) > 1:
            shown = [*names[1:_NAMES], *(["..."] if len(names) > _NAMES else [])]
            put(f"        the same in {len(names) - 1} more: {', '.join(shown)}")


def _choose_model(subject: Subject, args: argparse.Namespace) -> str:
    """Return the model of the requests: the given one, the configured one, or the provider's default."""
    settings = load_settings(args.config, profile=args.profile)
    entry = subject.entry
    configured = settings.llm.model if settings.llm.provider == entry.name else None
    if model := args.model or configured or entry.default_model:
        return str(model)
    known = subject.find_models()
    raise UsageError(
        f"no model is configured for the llm provider `{entry.name}`",
        expected="-m with the name of a model",
        fix=make_plugins_line(entry.name, args, model=known[0]) if known else None,
    )
