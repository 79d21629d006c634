"""Make the command that installs a distribution of this project from the place where the host came from: a clone, wheel, repository or package index.

Our distributions are not on PyPI yet, so anybody may register their names, and the name `llmcore` belongs to another project
there. `pip install NAME` could install foreign code on a machine that has API keys. So the command is `pip install NAME` only if the host itself was
installed by its name, or from a wheel that is made for PyPI. This module imports nothing of llmcore, so it works in a broken installation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = [
    "FOLDERS",
    "find_foreign_llmcore",
    "is_on_index",
    "make_install_line",
    "make_reinstall_line",
    "make_repair_line",
]

FOLDERS: Final[Mapping[str, str]] = {
    "llmcore-host": ".",
    "llmcore-anthropic": "plugins/anthropic",
    "llmcore-any-llm": "plugins/any_llm",
    "llmcore-cache-memcached": "plugins/cache_memcached",
    "llmcore-cache-redis": "plugins/cache_redis",
    "llmcore-dashboard": "plugins/dashboard",
    "llmcore-gateway": "plugins/gateway",
    "llmcore-engine-dask": "plugins/engine_dask",
    "llmcore-engine-ray": "plugins/engine_ray",
    "llmcore-ledger-postgres": "plugins/ledger_postgres",
    "llmcore-observer-otel": "plugins/observer_otel",
    "llmcore-openai-compatible": "plugins/openai_compatible",
    "llmcore-openai-optimized": "plugins/openai_optimized",
    "llmcore-storage-fs": "plugins/storage_fs",
    "llmcore-storage-object": "plugins/storage_object",
    "llmcore-testing": "plugins/testing",
    "llmcore-voice-espeak": "plugins/voice_espeak",
    "llmcore-voice-tts": "plugins/voice_tts",
}
"""Every distribution of this project, and its folder in the repository."""

_BUILDS_ON: Final[Mapping[str, str]] = {
    "llmcore-any-llm": "llmcore-openai-optimized",
    "llmcore-openai-compatible": "llmcore-openai-optimized",
}
"""Plugin -> the plugin that it needs. Neither is on a package index, so the install line names both."""

_ROOT: Final = Path(__file__).parents[1]
_UNPUBLISHED: Final = "Classifier: Private :: Do Not Upload"
"""The line of the metadata with which PyPI refuses a wheel."""


def make_install_line(*distributions: str) -> str | None:
    """Return the line that installs *distributions* of this project.

    The result is None if the source of the host is unknown.
    """
    wanted = filter(
        None, dict.fromkeys(name for each in distributions for name in (_BUILDS_ON.get(each), each))
    )
    places = [_find_source(each) for each in wanted]
    return None if None in places else f"pip install {' '.join(map(str, places))}"


def make_reinstall_line(distribution: str, metadata: str, *options: str) -> str | None:
    """Return the line that installs an installed distribution again, from its original source.

    Args:
        distribution: The normalised name of the distribution.
        metadata: The metadata folder of the distribution; empty if unknown.
        options: Options for `pip install`, such as `--upgrade`.
    """
    source = _read_source(Path(metadata)) if metadata else None
    place = _format_source(source) if source else None
    if place is None:
        place = _find_source(distribution) if distribution in FOLDERS else distribution
    return None if place is None else " ".join(["pip install", *options, place])


def find_foreign_llmcore(*folders: str) -> str | None:
    """Search *folders* for the other project's distribution `llmcore`, and return its name and version.

    The result is None if the distribution is not installed.
    """
    for folder in folders:
        for found in Path(folder).glob("llmcore-[0-9]*.dist-info"):
            return found.name.removesuffix(".dist-info").replace("-", " ")
    return None


def make_repair_line() -> str:
    """Return the line that removes the other project's `llmcore` and restores our files."""
    place = _find_source("llmcore-host")
    install = "pip install --force-reinstall --no-deps"
    return f"pip uninstall -y llmcore && {install} {place or 'FOLDER_OF_THE_CLONE'}"


def is_on_index() -> bool:
    """Return whether the other distributions are on the package index that the host came from."""
    metadata = _find_metadata()
    return metadata is not None and _is_published(metadata, _read_source(metadata))


def _find_source(distribution: str) -> str | None:
    folder = FOLDERS[distribution]
    # A clone: an editable installation, or a checkout on the path.
    if (_ROOT / folder / "pyproject.toml").is_file():
        return _quote(_ROOT / folder)
    metadata = _find_metadata()
    if metadata is None:
        return None
    source = _read_source(metadata)
    place = None if source is None else _find_next_to_host(source, distribution, folder)
    return distribution if place is None and _is_published(metadata, source) else place


def _find_metadata() -> Path | None:
    """Return the metadata folder next to the host's package; None if the host runs from a clone."""
    return next(_ROOT.glob("llmcore_host-*.dist-info"), None)


def _is_published(metadata: Path, source: Mapping[str, Any] | None) -> bool:
    """Return whether the host came from a package index, or from a wheel that is made for PyPI."""
    if source is None:
        return True
    if not str(source.get("url", "")).endswith(".whl"):
        return False
    try:
        return _UNPUBLISHED not in (metadata / "METADATA").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False


def _find_next_to_host(source: Mapping[str, Any], distribution: str, folder: str) -> str | None:
    url = str(source.get("url", ""))
    if isinstance(version := source.get("vcs_info"), dict):
        part = "" if folder == "." else f"#subdirectory={folder}"
        revision = f"@{version['commit_id']}" if version.get("commit_id") else ""
        return _quote(f"{distribution} @ {version.get('vcs', 'git')}+{url}{revision}{part}")
    path = _parse_file_url(url)
    if path is None:
        return None
    if path.suffix == ".whl":
        wheels = sorted(path.parent.glob(f"{distribution.replace('-', '_')}-*.whl"))
        return _quote(wheels[-1]) if wheels else None
    return _quote(path / folder) if (path / folder / "pyproject.toml").is_file() else None


def _format_source(source: Mapping[str, Any]) -> str | None:
    """Return the argument of `pip install` that installs the same source again."""
    url = str(source.get("url", ""))
    if isinstance(version := source.get("vcs_info"), dict):
        part = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
        return _quote(f"{version.get('vcs', 'git')}+{url}{part}")
    path = _parse_file_url(url)
    if path is None:
        return _quote(url)
    editable = "-e " if (source.get("dir_info") or {}).get("editable") else ""
    return editable + _quote(path)


def _read_source(metadata: Path) -> dict[str, Any] | None:
    """Return the source that the installer recorded for a distribution; None if it came from an index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    import json

    try:
        source = json.loads((metadata / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        return None
    return source if isinstance(source, dict) and source.get("url") else None


def _parse_file_url(url: str) -> Path | None:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _quote(text: object) -> str:
    import shlex  # imported here because it is needed only after a failure

    return shlex.quote(str(text))
