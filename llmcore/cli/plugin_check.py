"""`llmcore plugins check`: the conformance tests of its kind, run on one provider as it is configured."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from llmcore.cli import plugin_subject
from llmcore.cli.misuse import UsageError
from llmcore.cli.plugin_subject import Subject
from llmcore.cli.show import Paint, note, print_json
from llmcore.config import load_settings
from llmcore.plugins import Catalogue

__all__ = ["check"]

_KITS: Final = {"llm": "LLM", "cache": "Cache", "storage": "Storage", "voice": "Voice"}
_FAILED: Final = 6
_TESTS: Final = """\
import pytest
from llmcore.cli.plugin_subject import subject
from llmcore.testing import {kit}Conformance


class TestProvider({kit}Conformance):
    {attributes}

    @pytest.fixture
    def provider(self, tmp_path):
        with subject().opened(tmp_path) as provider:
            yield provider
{more}"""
_CANARY: Final = """
    @pytest.fixture
    def canary(self):
        return subject().secret()
"""
_SIBLING: Final = """
    @pytest.fixture
    def sibling(self, provider, tmp_path):
        with subject().opened(tmp_path, namespace="llmcore-check-sibling") as sibling:
            yield sibling
"""

_INI: Final = """\
[pytest]
filterwarnings =
    error
    ignore::pytest.PytestAssertRewriteWarning
"""
"""The warning is of llmcore itself, which has long been imported where its command line runs pytest."""


def check(which: tuple[str, str], args: argparse.Namespace) -> int:
    """Run the tests on the provider *which*, a kind and a name, and tell what it does not keep."""
    if importlib.util.find_spec("pytest") is None:
        raise UsageError(
            "`llmcore plugins check` needs pytest, which is not installed",
            expected="pytest 8 or later",
            fix="pip install pytest",
        )
    kind, name = which
    catalogue = Catalogue()
    subject = Subject(kind, catalogue.provider(kind, name), args)
    subject.must_serve()
    plugin_subject.under_test = subject
    results, output = _tested(kind, _attributes(kind, subject, args), _fixtures(kind, subject))
    if args.verbose:
        note(output)
    owner = catalogue.inspect(kind, name)
    return _told(
        results, f"{name}, {kind} provider of {owner.distribution} {owner.version}".rstrip(), args, output
    )


def _fixtures(kind: str, subject: Subject) -> str:
    if kind == "cache":
        return _SIBLING if subject.named else ""
    return _CANARY if kind == "llm" else ""


def _tested(kind: str, attributes: str, more: str) -> tuple[list[dict[str, str]], str]:
    pytest: Any = importlib.import_module("pytest")
    results = _Results()
    with tempfile.TemporaryDirectory(prefix="llmcore-check-") as folder:
        file = Path(folder, "test_provider.py")
        file.write_text(_TESTS.format(kit=_KITS[kind], attributes=attributes, more=more), encoding="utf-8")
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
        with contextlib.redirect_stdout(io.StringIO()) as out:
            pytest.main([*options, *place], plugins=[results])
    return results.all, out.getvalue()


class _Results:
    """Hears of each test what came of it."""

    def __init__(self) -> None:
        self.all: list[dict[str, str]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what is worth telling: each test once, and errors of its preparation."""
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
        """Keep an error of the collection: without one there are tests."""
        if report.failed:
            self.all.append({"name": "collection", "outcome": "failed", "why": report.longreprtext})


def _told(results: list[dict[str, str]], title: str, args: argparse.Namespace, output: str) -> int:
    count = {
        outcome: sum(each["outcome"] == outcome for each in results)
        for outcome in ("passed", "failed", "skipped")
    }
    good = bool(count["passed"]) and not count["failed"]
    if args.json:
        print_json(provider=title, ok=good, **count, tests=results)
        return 0 if good else _FAILED
    paint = Paint.of(sys.stdout, no_color=args.no_color)
    for each in results:
        if each["outcome"] == "failed":
            lines = each["why"].strip().splitlines() or ["no reason was given"]
            print(f"{paint('red', 'failed')}  {paint('bold', each['name'])}")
            print("\n".join(f"        {line}" for line in lines[:12]))
    if not results:
        print(output)
    missing = sorted({each["why"] for each in results if each["outcome"] == "skipped"})
    for why in missing:
        print(f"{paint('yellow', 'skipped')} {why}")
    verdict = paint("green", "keeps") if good else paint("red", "does not keep")
    print(f"{title}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    print(f"it {verdict} what its kind promises")
    return 0 if good else _FAILED


def _attributes(kind: str, subject: Subject, args: argparse.Namespace) -> str:
    """Return the class attributes that the kit of *kind* needs to know this provider."""
    if kind != "llm":
        return "pass"
    settings = load_settings(args.config, profile=args.profile)
    entry = subject.entry
    configured = settings.llm.model if settings.llm.provider == entry.name else None
    model = args.model or configured or entry.default_model
    if model is None:
        raise UsageError(
            f"nothing says which model of `{entry.name}` to ask",
            expected="the name of a model",
            fix=f"llmcore plugins check {entry.name} -m MODEL",
        )
    return f"model = {model!r}"
