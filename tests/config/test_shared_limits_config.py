"""`[limits] shared`, as a name and as a table, and its faults in `config check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmcore.calls.shared_backend import make_shared_backend
from llmcore.cli.config_faults import find_faults, hide_secrets
from llmcore.config import load_settings
from llmcore.config.money import SharedLimitsSettings
from llmcore.plugins import Catalogue


def load_options(source: dict[str, Any]) -> Any:
    return make_shared_backend(load_settings(source), Catalogue()).options


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"shared": "redis"}, SharedLimitsSettings("redis", ("limits", "shared"))),
        ({"shared": {"url": "redis://h"}}, SharedLimitsSettings("redis", ("limits", "shared"))),
        (
            {"shared": {"use": "team", "processes": 8}},
            SharedLimitsSettings("team", ("limits", "shared", "use"), 8),
        ),
    ],
)
def test_the_store_is_named_by_a_word_or_a_table(
    limits: dict[str, Any], expected: SharedLimitsSettings | None
) -> None:
    settings = load_settings({"limits": {"requests_per_minute": 5, **limits}})
    assert settings.shared_limits == expected
    assert settings.limits.keys() == {""}


def test_the_options_are_those_of_the_cache_except_its_namespace() -> None:
    cache = {"redis": {"url": "redis://cache", "namespace": "app", "timeout": 2}}
    found = load_options({"limits": {"shared": "redis"}, "cache": {**cache, "namespace": "other"}})
    assert (found.url, found.namespace, found.timeout) == ("redis://cache", "default", 2.0)
    found = load_options(
        {"limits": {"shared": {"url": "redis://limits", "namespace": "two"}}, "cache": cache}
    )
    assert (found.url, found.namespace, found.timeout) == ("redis://limits", "two", 2.0)


def test_the_store_may_be_an_instance() -> None:
    cache = {"team": {"use": "redis", "url": "redis://team"}}
    backend = make_shared_backend(load_settings({"limits": {"shared": "team"}, "cache": cache}), Catalogue())
    assert (backend.name, backend.provider_name, backend.options.url) == ("team", "redis", "redis://team")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ('shared = "rediss"', "LC103", "unknown cache provider `rediss`"),
        ('shared = "memory"', "LC104", "must be a cache that can share rate limits, got `memory`"),
        ("shared = 5", "LC104", "`shared` must be text, got 5"),
        ('[limits.shared]\nuse = "file"', "LC104", "`limits.shared.use` must be a cache"),
        ('[limits.shared]\nprocesses = "many"', "LC104", "`processes` must be a whole number of at least 1"),
        ("[limits.shared]\nprocess = 3", "LC102", "unknown key `process` in [limits.shared]"),
        ("[limits.shared]\nlimit_timeout = 0", "LC100", "limit_timeout must be greater than 0"),
        ('[limits.shared]\npassword = "hunter2222"', "LC109", "must be a reference to a secret"),
        ('shred = "redis"', "LC102", "unknown key `shred` in [limits]"),
    ],
)
def test_a_fault_is_reported_by_config_check(tmp_path: Path, text: str, code: str, message: str) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text(f"[limits]\n{text}\n")
    (fault,) = find_faults(str(file), None)
    assert fault.code == code
    assert message in fault.message
    assert fault.where is not None
    assert "limits" in fault.where or file.name in fault.where
    assert "hunter2222" not in str(fault)


def test_secrets_of_the_table_are_hidden(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    file.write_text('[limits.shared]\ntls_key_password = "env:WORD"\nurl = "redis://h"\n')
    settings = load_settings(str(file))
    hide_secrets(settings)
    assert settings.get_written(("limits", "shared", "url")) == "redis://h"
    settings = load_settings(str(file), arguments={"limits": {"shared": {"tls_key_password": "hunter2222"}}})
    hide_secrets(settings)
    assert "hunter2222" not in str([item.value for item in settings.list_settings()])
