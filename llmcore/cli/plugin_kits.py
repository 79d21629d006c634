"""Write the test file of `llmcore plugins check`: a conformance kit for the provider, and the fixtures that the kit needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from llmcore.cli.plugin_subject import Subject
from llmcore.cli.voice_variations import Variations

__all__ = ["list_not_run", "render_tests"]

_NOT_CHECKED: Final = "not checked: "
_KITS: Final[Mapping[str, str]] = {
    "llm": "LLM",
    "cache": "Cache",
    "storage": "Storage",
    "voice": "Voice",
    "ledger": "Ledger",
    "engines": "Engine",
}
_FILE: Final = """\
import pytest
from llmcore.cli.plugin_subject import get_subject
import llmcore_testing


class Provided:
    {attributes}
{fixtures}"""
_CLASS: Final = """

class Test{kit}(Provided, llmcore_testing.{kit}Conformance):
    pass
"""
_PROVIDER: Final = """
    @pytest.fixture
    def provider(self, tmp_path):
        with get_subject().open(tmp_path) as provider:
            yield provider
"""
_ENGINE: Final = """
    @pytest.fixture
    def provider(self, engine):
        return engine
"""
_SHARED_ENGINE: Final = """

@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with get_subject().open(tmp_path_factory.mktemp("engine")) as engine:
        yield engine
"""
"""The workers of an engine take seconds to start, so all tests share one engine."""
_CANARY: Final = """
    @pytest.fixture(params={names!r})
    def canary(self, request):
        return get_subject().find_secrets()[request.param]
"""
_SIBLING: Final = """
    @pytest.fixture
    def sibling(self, provider, tmp_path):
        with get_subject().open(tmp_path, namespace="llmcore-check-sibling") as sibling:
            yield sibling
"""
_TWIN: Final = """
    @pytest.fixture
    def twin(self, provider):
        return get_subject().open_again()
"""
_OPENER: Final = """
    @pytest.fixture
    def opener(self, provider):
        return get_subject().open_again
"""
_VARIATION: Final = """
    @pytest.fixture(params={names!r})
    def variation(self, request):
        return get_subject().open_variation(request.param)
"""
_REASONS: Final[Mapping[str, str]] = {
    "broken": "the check cannot make the server fail",
    "denied": "the check has no credentials that the server refuses",
    "opener": "no option names a folder or a server, so each instance has rows of its own",
    "restricted": "the check cannot change the rights on the server",
    "sibling": "there is no option `namespace`",
    "upstream": "the check cannot make the server fail",
    "twin": "no option names a folder or a server, so each instance has entries of its own",
}
"""Fixture -> why the check does not define the fixture."""
_FIXTURE: Final = re.compile(r"; define the fixtures? `(\w+)`.*")


def render_tests(subject: Subject, model: str | None) -> str:
    """Return the source of the test file."""
    kits = [_KITS[subject.kind]]
    if subject.shares_rate_limits:
        kits.append("RateLimit")
    provided = _FILE.format(attributes=_render_attributes(subject, model), fixtures=_render_fixtures(subject))
    shared = _SHARED_ENGINE if subject.kind == "engines" else ""
    return provided + shared + "".join(_CLASS.format(kit=kit) for kit in kits)


def list_not_run(skipped: Iterable[str], subject: Subject) -> list[str]:
    """Return a line for each check that did not run, with the reason. *skipped* has the reasons of the skipped tests."""
    variations = subject.variations
    found = {_explain_skip(why, variations) for why in skipped}
    if variations.values and variations.untried:
        found |= {
            f"{_NOT_CHECKED}whether `{name}` changes the audio: the check knows no other value"
            for name in variations.untried
        }
    if subject.kind == "cache" and not subject.shares_rate_limits:
        found.add("skipped the kit of shared rate limits: the cache does not define request_permit")
    return sorted(found)


def _explain_skip(why: str, variations: Variations) -> str:
    """Rewrite *why*, the reason of a skipped test, for a user who cannot edit the test class that `check` generates."""
    found = _FIXTURE.search(why)
    if found is None or not why.startswith(_NOT_CHECKED):
        return f"skipped because {why}"
    name = found[1]
    reason = variations.describe() if name == "variation" else _REASONS.get(name)
    because = f": {reason}" if reason else ""
    return f"{why[: found.start()]}{because}; the tests of the plugin can define the fixture `{name}`"


def _render_attributes(subject: Subject, model: str | None) -> str:
    lines = [] if subject.has_secret_options else ['lacks = ("canary",)']
    if model is not None:
        lines.append(f"model = {model!r}")
    largest = subject.find_max_value() if subject.kind == "storage" else None
    if largest is not None:
        lines.append(f"max_value_bytes = {largest}")
    return "\n    ".join(lines or ["pass"])


def _render_fixtures(subject: Subject) -> str:
    secrets, varied = sorted(subject.find_secrets()), sorted(subject.variations.values)
    parts = [
        _ENGINE if subject.kind == "engines" else _PROVIDER,
        _SIBLING if subject.kind == "cache" and subject.has_namespace else "",
        _TWIN if subject.has_twin else "",
        _OPENER if subject.has_opener else "",
        _CANARY.format(names=secrets) if secrets else "",
        _VARIATION.format(names=varied) if varied else "",
    ]
    return "".join(parts)
