"""The toolkit for plugins: proxies, certificates, addresses, and characters that no header can contain."""

from __future__ import annotations

import pytest

from llmcore.errors import ConfigError
from llmcore.support.addresses import find_address_fault
from llmcore.support.proxies import find_proxy
from llmcore.support.text import find_invisible, find_unsendable


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_no_proxy_is_used_without_variables() -> None:
    assert find_proxy("https://api.example.com/v1") is None


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://h/v1", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://h/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://h/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://h/v1", "http://p:1"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://p:1"}, "https://h/v1", "http://p:1"),
        ({"HTTPS_PROXY": "p:3128"}, "https://h/v1", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:1/"}, "https://h/v1", "http://p:1"),
        ({"HTTPS_PROXY": ""}, "https://h/v1", None),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1"}, "https://h/v1", "http://low:1"),
    ],
)
def test_the_variable_of_the_scheme_takes_precedence_over_all_proxy(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_proxy(url)
    assert (found and found.url) == proxy


@pytest.mark.parametrize(
    ("listed", "host", "excluded"),
    [
        ("*", "api.example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("EXAMPLE.com", "api.example.COM", True),
        ("example.com", "badexample.com", False),
        ("example.com", "example.com.evil.net", False),
        ("localhost, 127.0.0.1", "127.0.0.1", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("::1", "[::1]", True),
        ("[::1]", "[::1]", True),
        ("fd00::/8", "[fd00::5]", True),
        ("h:8080", "h:8080", True),
        ("h:8080", "h:9090", False),
        ("h:80", "h", True),
        ("http://h", "h", True),
        ("", "h", False),
        (",, ,", "h", False),
        ("10.0.0.0/99", "10.0.0.1", False),
    ],
)
def test_no_proxy_excludes_names_addresses_and_networks(
    listed: str, host: str, *, excluded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", listed)
    assert (find_proxy(f"http://{host}/v1") is None) is excluded


def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:secret-word@p:1")
    found = find_proxy("https://h")
    assert found
    assert found.shown == "http://p:1 (from HTTPS_PROXY)"
    assert "secret-word" not in repr(found)
    monkeypatch.setenv("HTTPS_PROXY", "gopher://ann:secret-word@p:1")
    with pytest.raises(ConfigError) as caught:
        find_proxy("https://h")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/v1", None),
        ("https://host:8443", None),
        ("http://[::1]:8000/v1", None),
        ("http://bücher.de/v1", None),
        ("http://ex_ample.com", None),
        ("host/v1", "http://"),
        ("ftp://host", "http://"),
        ("http:///v1", "no host"),
        ("http://host:0", "port"),
        ("http://host:65536", "port"),
        ("http://host:x", "port"),
        ("http://::1:80/v1", "brackets"),
        ("http://[zz]/", "IPv6"),
        ("http://a..b/", "63"),
        (f"http://{'a' * 64}.de/", "63"),
        ("http://ho\u200bst/", "U+200B ZERO WIDTH SPACE at index 9"),
        ("http://ho st/", "U+0020 SPACE"),
        ("http://host\n/", "U+000A a control character"),
        ("\ufeffhttp://host/", "U+FEFF"),
    ],
)
def test_an_invalid_address_is_found(url: str, words: str | None) -> None:
    fault = find_address_fault(url)
    assert fault is None if words is None else words in (fault or "")


def test_the_first_character_that_no_header_can_contain_is_named() -> None:
    assert find_unsendable("sk-abc") is None
    assert find_unsendable("two words") is None
    assert find_unsendable("two words", spaces=False) == "U+0020 SPACE at index 3"
    assert find_unsendable("sk-\u00fc") == "U+00FC LATIN SMALL LETTER U WITH DIAERESIS at index 3"
    assert find_unsendable("a\rb") == "U+000D a control character at index 1"
    assert find_invisible("abc") is None
    assert find_invisible("a\u00a0b") == "U+00A0 NO-BREAK SPACE at index 1"
