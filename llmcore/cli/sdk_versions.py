"""Compare the installed dependencies of our distributions with the tested versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

__all__ = ["TESTED", "VersionFinding", "VersionRange", "compare_versions"]


class VersionRange(NamedTuple):
    """The range of versions of a dependency with which the plugin's tests pass."""

    lowest: str
    """The lower bound of pyproject.toml; `make lowest` tests it."""
    newest: str
    """The version in requirements-dev.txt."""


TESTED: Final[Mapping[str, Mapping[str, VersionRange]]] = {
    "llmcore-host": {
        "apsw": VersionRange("3.51.3", "3.54.1.0"),
        "keyring": VersionRange("25", "25.7.0"),
        "lmdb": VersionRange("1.7.1", "3.0.0"),
        "msgspec": VersionRange("0.21", "0.23.0"),
        "platformdirs": VersionRange("4", "4.14.8"),
        "pluggy": VersionRange("1.6", "1.7.0"),
        "pyarrow": VersionRange("22", "26.0.1"),
        "pytest": VersionRange("8", "9.2.0"),
        "tenacity": VersionRange("9.1.2", "9.2.1"),
        "tomlkit": VersionRange("0.13", "0.15.2"),
        "tqdm": VersionRange("4.67", "4.70.1"),
    },
    "llmcore-anthropic": {
        "anthropic": VersionRange("2.14", "2.14.0"),
        "genai-prices": VersionRange("0.2.3", "0.2.3"),
        "httpx2": VersionRange("2.12", "2.16.2"),
        "socksio": VersionRange("1", "1.0.0"),
    },
    "llmcore-any-llm": {"any-llm-sdk": VersionRange("1.40", "1.40.2")},
    "llmcore-cache-memcached": {"pymemcache": VersionRange("4", "4.0.0")},
    "llmcore-cache-redis": {"hiredis": VersionRange("3.3", "3.5.0"), "redis": VersionRange("8", "8.1.0")},
    "llmcore-dashboard": {"uvicorn": VersionRange("0.38", "0.54.0")},
    "llmcore-gateway": {
        "httptools": VersionRange("0.7.1", "0.9.0"),
        "httpx2": VersionRange("2.12", "2.16.2"),
        "uvicorn": VersionRange("0.38", "0.54.0"),
        "uvloop": VersionRange("0.22.1", "0.23.0"),
    },
    "llmcore-engine-dask": {
        "dask": VersionRange("2026.3", "2026.8.0"),
        "distributed": VersionRange("2026.3", "2026.8.0"),
    },
    "llmcore-engine-ray": {"ray": VersionRange("2.58", "2.60.0")},
    "llmcore-ledger-postgres": {"psycopg": VersionRange("3.3", "3.3.9")},
    "llmcore-observer-otel": {
        "opentelemetry-api": VersionRange("1.30", "1.45.2"),
        "opentelemetry-exporter-otlp-proto-http": VersionRange("1.30", "1.45.2"),
        "opentelemetry-sdk": VersionRange("1.30", "1.45.2"),
    },
    "llmcore-openai-optimized": {
        "aiohappyeyeballs": VersionRange("2.4.6", "2.7.1"),
        "genai-prices": VersionRange("0.2.3", "0.2.3"),
        "httptools": VersionRange("0.7.1", "0.9.0"),
        "httpx2": VersionRange("2.12", "2.16.2"),
        "openai": VersionRange("3.14.1", "3.57.0"),
        "regex": VersionRange("2025.7.31", "2026.11.19"),
        "socksio": VersionRange("1", "1.0.0"),
        "tiktoken": VersionRange("0.13", "0.14.0"),
    },
    "llmcore-storage-object": {"obstore": VersionRange("0.12", "0.12.1")},
    "llmcore-testing": {
        "pytest": VersionRange("8", "9.2.0"),
        "soundfile": VersionRange("0.13", "0.14.0"),
    },
    "llmcore-voice-espeak": {
        "espeakng-loader": VersionRange("0.2.4", "0.2.4"),
        "soundfile": VersionRange("0.13", "0.14.0"),
    },
    "llmcore-voice-tts": {
        "elevenlabs": VersionRange("2.63", "2.78.0"),
        "httpx": VersionRange("0.27", "0.28.1"),
        "socksio": VersionRange("1", "1.0.0"),
    },
}
"""llmcore distribution -> its direct dependencies, including those of its extras."""


class VersionFinding(NamedTuple):
    """The result of a comparison."""

    distribution: str
    ok: bool
    text: str
    fix: str | None = None


def compare_versions(distribution: str) -> Iterator[VersionFinding]:
    """Compare the installed dependencies of *distribution* with the tested versions.

    Yield one problem with a fix for each dependency that is below its lower bound, then one finding for all others.
    A version that is newer than the tested versions is only noted. Dependencies that are not installed are skipped.
    """
    suitable: list[str] = []
    for name, tested in TESTED.get(distribution, {}).items():
        try:
            installed = version(name)
        except PackageNotFoundError:  # a dependency of an extra; loading the plugin reports a missing SDK
            continue
        if _split_version(installed) < _split_version(tested.lowest):
            yield VersionFinding(
                distribution,
                ok=False,
                text=f"{name} must be {tested.lowest} or later, got {installed}",
                fix=f"pip install '{name}>={tested.lowest}'",
            )
        elif _split_version(installed) > _split_version(tested.newest):
            suitable.append(f"{name} {installed} (newer than {tested.newest}, the newest that was tested)")
        else:
            suitable.append(f"{name} {installed}")
    if suitable:
        yield VersionFinding(distribution, ok=True, text=", ".join(suitable))


def _split_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version for comparison, without zeros at the end: 3.54.1.0 is 3.54.1."""
    found = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", text)
    numbers = [int(part) for part in found[1].split(".")] if found else [0]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
