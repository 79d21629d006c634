"""Proxies, certificates and addresses: one class of error each, sync and async, that names the cause."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import ConfigError, LLMCoreError, NotFound, Unavailable
from llmcore.types import Secret
from llmcore_testing.simulator import Fault, Simulator
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def say(way: str, url: str, key: str = "sk_test_0123456789") -> Any:
    voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret(key), base_url=url))
    try:
        return voice.synthesize("Hello.") if way == "sync" else asyncio.run(voice.asynthesize("Hello."))
    finally:
        voice.close()


def catch_error(way: str, url: str, key: str = "sk_test_0123456789") -> LLMCoreError:
    with pytest.raises(LLMCoreError) as caught:
        say(way, url, key)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "secret-word" not in str(caught.value)
    return caught.value


def find_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_not_there_is_named(way: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if scheme == "socks5":
        pytest.importorskip("socksio")
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://ann:secret-word@127.0.0.1:{find_closed_port()}")
    error = catch_error(way, "http://voice.invalid")
    assert isinstance(error, Unavailable)
    assert "(from ALL_PROXY)" in error.message
    assert not error.sent


def test_a_host_in_no_proxy_is_reached_directly(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as if it were not installed
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    with Simulator() as upstream:
        assert say(way, upstream.url).audio


def test_a_socks_proxy_without_its_package_names_both(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    error = catch_error(way, "http://voice.invalid")
    assert isinstance(error, ConfigError)
    assert "ALL_PROXY names a SOCKS proxy" in error.message
    assert "socksio" in error.message


def test_missing_certificates_name_their_variable(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    error = catch_error(way, "https://127.0.0.1:1")
    assert isinstance(error, ConfigError)
    assert error.where == "SSL_CERT_FILE"
    with Simulator() as upstream:
        assert say(way, upstream.url).audio, "a server without TLS needs no certificates"


def test_without_a_connection_nothing_is_marked_as_sent(way: str) -> None:
    error = catch_error(way, f"http://127.0.0.1:{find_closed_port()}")
    assert isinstance(error, Unavailable)
    assert not error.sent


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("http://127.0.0.1\u200b", "sk_test", "U+200B ZERO WIDTH SPACE at index 16"),
        ("http://::1:80", "sk_test", "brackets"),
        ("http://h:99999", "sk_test", "port"),
        ("http://h", "sk_\u00e4", "U+00E4"),
        ("http://h", "sk_a\u200bb", "U+200B"),
    ],
)
def test_unsendable_arguments_are_named(way: str, url: str, key: str, words: str) -> None:
    error = catch_error(way, url, key)
    assert isinstance(error, ConfigError)
    assert words in error.message


@pytest.mark.parametrize("status", [404, 405])
def test_a_wrong_address_says_so_and_is_corrected(way: str, status: int) -> None:
    with Simulator() as upstream:
        upstream.fail(Fault.status(status, body={"detail": "Not Found"}))
        error = catch_error(way, f"{upstream.url}/v1")
        assert isinstance(error, NotFound)
        assert "base_url" in str(error)
        assert error.fix == f"llmcore config set voice.elevenlabs.base_url {upstream.url}"
