"""References to secrets: how they are resolved, errors for missing secrets, and that no secret is shown."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from llmcore.config import Settings, load_settings, set_value
from llmcore.errors import ConfigError
from llmcore.hookspecs import Options, Provider
from llmcore.types import Duration, Secret

CANARY = "canary-7f3a"
LOOKS_LIKE_A_KEY = "sk-proj-Zx81QmT0p4Lk99"


class OpenAIOptions(Options):
    api_key: Secret | None = None
    base_url: str = "https://api.openai.com/v1"
    timeout: Duration = Duration(30)
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    handle: Secret | None = None
    extra: dict[str, str] = msgspec.field(default_factory=dict)


OPENAI = Provider(name="openai", options=OpenAIOptions, create=lambda given: given)


def load(text: str, tmp_path: Path, **env: str) -> Settings:
    (tmp_path / "llmcore.toml").write_text(text, encoding="utf-8")
    return load_settings(env=env, cwd=tmp_path)


def read_key(settings: Settings) -> str:
    options = settings.read_options("llm", OPENAI)
    assert isinstance(options, OpenAIOptions)
    assert options.api_key is not None
    return options.api_key.reveal()


def catch_fault(settings: Settings) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings.read_options("llm", OPENAI)
    return caught.value


def list_locals(error: BaseException | None) -> str:
    """The local variables of our own functions, as crash reporters send them."""
    shown = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "/llmcore/config/" in Path(frame.f_code.co_filename).as_posix():
                shown.append(f"{frame.f_code.co_name}: {frame.f_locals!r}")
        error = error.__context__
    assert shown
    return "\n".join(shown)


def list_everything(settings: Settings, error: BaseException | None = None) -> str:
    """All that a person, a log or a crash report could show."""
    parts = [repr(settings), repr(settings.list_settings()), str(settings.explain("llm.openai"))]
    parts += [str(settings.explain(item.key)) for item in settings.list_settings()]
    if error is not None:
        parts += [str(error), repr(error), *traceback.format_exception(error), list_locals(error)]
        if isinstance(error, ConfigError):
            parts.append(error.render())
    return "\n".join(parts)


def test_references_lead_to_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {CANARY}\n")
    assert read_key(load('[llm.openai]\napi_key = "env:K"', tmp_path, K=CANARY)) == CANARY
    assert read_key(load('[llm.openai]\napi_key = "file:key"', tmp_path)) == CANARY
    assert read_key(load(f'[llm.openai]\napi_key = "file:{tmp_path}/key"', tmp_path)) == CANARY
    assert read_key(load(f'[llm.openai]\napi_key = "file://{tmp_path}/key"', tmp_path)) == CANARY
    assert read_key(load('[llm.openai]\napi_key = "file:~/key"', tmp_path, HOME=str(tmp_path))) == CANARY


def test_a_file_reference_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "llmcore.toml").write_text('[profiles.p.llm.openai]\napi_key = "file:key"')
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    assert read_key(load_settings(env={}, cwd=deep, profile="p")) == CANARY


def test_references_are_followed_when_the_provider_is_used_not_at_load() -> None:
    env: dict[str, str] = {}
    settings = load_settings({"llm": {"openai": {"api_key": "env:K"}}}, env=env)
    env["K"] = CANARY
    assert read_key(settings) == CANARY


def test_env_references_work_in_plain_text_too(tmp_path: Path) -> None:
    settings = load(
        '[llm.openai]\nbase_url = "env:URL"\nextra = { a = "env:A", b = "b" }',
        tmp_path,
        URL="http://x",
        A="1",
    )
    options = settings.read_options("llm", OPENAI)
    assert isinstance(options, OpenAIOptions)
    assert (options.base_url, options.extra) == ("http://x", {"a": "1", "b": "b"})
    error = catch_fault(load('[llm.openai]\nbase_url = "env:URL"', tmp_path))
    assert error.message == "no `base_url` for provider `openai`: the environment variable URL is not set"


def test_an_unset_variable_is_reported_with_the_nearest_set_one(tmp_path: Path) -> None:
    settings = load('[llm.openai]\napi_key = "env:OPENAI_API_KEY"\n', tmp_path, OPENAI_KEY=CANARY)
    assert catch_fault(settings).render() == (
        "error[LC201]: no `api_key` for provider `openai`: the environment variable OPENAI_API_KEY is not set\n"
        " --> llmcore.toml:2:11\n"
        '2 | api_key = "env:OPENAI_API_KEY"\n'
        "  |           ^^^^^^^^^^^^^^^^^^^^\n"
        "  = expected: environment variable OPENAI_API_KEY to be set (it is not; OPENAI_KEY is)\n"
        "  = help: did you mean `OPENAI_KEY`?\n"
        "  = fix: export OPENAI_API_KEY=…"
    )


def test_the_key_of_another_vendor_is_not_proposed(tmp_path: Path) -> None:
    settings = load('[llm.openai]\napi_key = "env:LOCAL_API_KEY"\n', tmp_path, OPENAI_API_KEY=CANARY)
    error = catch_fault(settings)
    assert (error.suggestion, "OPENAI" in error.render()) == (None, False)


def test_an_empty_variable_is_not_a_key(tmp_path: Path) -> None:
    error = catch_fault(load('[llm.openai]\napi_key = "env:K"', tmp_path, K=" "))
    assert "the environment variable K is empty" in error.message


def test_a_required_secret_without_a_value_is_missing(tmp_path: Path) -> None:
    class Needs(Options):
        api_key: Secret

    with pytest.raises(ConfigError) as caught:
        load("", tmp_path).read_options(
            "llm", Provider(name="acme", options=Needs, create=lambda given: given)
        )
    assert caught.value.code == "LC201"


def test_a_literal_key_in_a_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = load(f'[llm.openai]\napi_key = "{CANARY}"  # mine\n', tmp_path)
    error = catch_fault(settings)
    assert error.render() == (
        "error[LC109]: `api_key` in [llm.openai] must be a reference to a secret, got a literal value\n"
        " --> llmcore.toml:2:11\n"
        '2 | api_key = "***********"  # mine\n'
        "  |           ^^^^^^^^^^^^^\n"
        '  = expected: a reference: "env:NAME", "file:/path" or "keyring:service/user"\n'
        "  = fix: llmcore config set llm.openai.api_key env:OPENAI_API_KEY"
    )
    assert CANARY not in list_everything(settings, error)


@pytest.mark.parametrize(
    "line",
    [
        f'handle = "{CANARY}"',
        f'headers = {{ X = "{CANARY}" }}',
        f'headers = {{ X = "env:GONE", Y = "{CANARY}" }}',
        f'api_key = ["{CANARY}"]',
        f'apikey = "{CANARY}"',
        f'ap_kye = "{CANARY}"',
        f'headres = {{ X = "{CANARY}" }}',
        f'password = "{CANARY}"',
        f'api_key = "{CANARY}"\ntimeout = "soon"',
        f'base_url = "https://me:{CANARY}@host"\ntimeout = "soon"',
        f'timeout = "{LOOKS_LIKE_A_KEY}"',
        f'base_rul = "{LOOKS_LIKE_A_KEY}"',
        f'api_key = "env:{LOOKS_LIKE_A_KEY}"',
        f'api_key = """{CANARY}\nmore"""',
    ],
)
def test_no_fault_of_a_provider_shows_a_secret(line: str, tmp_path: Path) -> None:
    settings = load(f"[llm.openai]\n{line}\n", tmp_path)
    error = catch_fault(settings)
    text = list_everything(settings, error)
    assert CANARY not in text
    assert LOOKS_LIKE_A_KEY not in text


@pytest.mark.parametrize(
    "text",
    [
        f'[llm.openai]\napi_key = "{CANARY}',
        f"[llm.openai]\napi_key = {CANARY}",
        f'[llm.openai]\napi_key = "x"{CANARY}"',
        f'[llm]\nopenai = {{ api_key = "{CANARY}", }} x',
        f'[llm]\napi_key = "{CANARY}"',
        f'api_key = "{CANARY}"',
        f'[llm]\nmodle = "{LOOKS_LIKE_A_KEY}"',
        f'[retry]\nattempts = "{LOOKS_LIKE_A_KEY}"',
        f'retry = {{ api_key = "{CANARY}", attempts = 0 }}',
        f'[openai]\napi_key = "{CANARY}"',
        f'llm = "{LOOKS_LIKE_A_KEY}"',
        f'[cache]\nredis = "redis://:{CANARY}@host"',
    ],
)
def test_no_fault_of_a_file_shows_a_secret(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    shown = caught.value.render() + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    shown += list_locals(caught.value)
    assert CANARY not in shown
    assert LOOKS_LIKE_A_KEY not in shown


def test_code_and_the_environment_may_hand_over_the_key_itself() -> None:
    for settings in (
        load_settings({"llm": {"openai": {"api_key": CANARY}}}, env={}),
        load_settings({"llm": {"openai": {"api_key": Secret(CANARY)}}}, env={}),
        load_settings({}, env={"LLMCORE__LLM__OPENAI__API_KEY": CANARY}),
        load_settings({}, env={}, arguments={"llm": {"openai": {"api_key": CANARY}}}),
    ):
        assert read_key(settings) == CANARY
        assert CANARY not in list_everything(settings)


def test_a_key_of_digits_in_the_environment_is_a_key() -> None:
    assert read_key(load_settings({}, env={"LLMCORE__LLM__OPENAI__API_KEY": "0123"})) == "0123"


def test_a_secret_under_a_name_that_does_not_say_so_is_hidden_once_the_provider_is_known() -> None:
    settings = load_settings({"llm": {"openai": {"handle": CANARY}}}, env={})
    settings.read_options("llm", OPENAI)
    assert CANARY not in list_everything(settings)
    assert settings.explain("llm.openai.handle")[0].value == "…"


def test_references_are_shown_as_they_are(tmp_path: Path) -> None:
    settings = load('[llm.openai]\napi_key = "env:OPENAI_API_KEY"', tmp_path, OPENAI_API_KEY=CANARY)
    read_key(settings)
    assert settings.explain("llm.openai.api_key")[0].value == '"env:OPENAI_API_KEY"'
    assert CANARY not in list_everything(settings)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:", "a reference `env:` without the name of a variable"),
        ("file:", "a reference `file:` without a path"),
        ("keyring:", "a reference `keyring:` without service and user"),
        ("file:gone", "cannot be read: No such file or directory"),
        ("file:empty", "is empty"),
        ("file:binary", "is not text in UTF-8"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    error = catch_fault(load(f'[llm.openai]\napi_key = "{reference}"', tmp_path))
    assert message in error.message


def test_a_keyring_without_its_package_is_reported_with_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    error = catch_fault(load('[llm.openai]\napi_key = "keyring:llmcore/openai"', tmp_path))
    assert "keyring" in error.message
    assert error.fix == "pip install keyring"


def test_failures_of_the_keyring_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = ModuleType("keyring")  # the system's key store is not ours to fill in a test
    monkeypatch.setitem(sys.modules, "keyring", store)
    store.get_password = lambda service, user: {("llmcore", "openai"): CANARY}.get((service, user))
    assert read_key(load('[llm.openai]\napi_key = "keyring:llmcore/openai"', tmp_path)) == CANARY
    error = catch_fault(load('[llm.openai]\napi_key = "keyring:llmcore/other"', tmp_path))
    assert error.fix == "keyring set llmcore other"

    def raise_locked(*_: str) -> str:
        raise RuntimeError(CANARY)

    store.get_password = raise_locked
    settings = load('[llm.openai]\napi_key = "keyring:llmcore/openai"', tmp_path)
    error = catch_fault(settings)
    assert "RuntimeError" in error.message
    assert CANARY not in list_everything(settings, error)


def test_no_secret_is_written_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "llmcore.toml"
    with pytest.raises(ConfigError) as caught:
        set_value(file, "llm.openai.api_key", CANARY)
    assert caught.value.code == "LC109"
    assert CANARY not in caught.value.render() + list_locals(caught.value)
    assert not file.exists()
    set_value(file, "llm.openai.api_key", "env:OPENAI_API_KEY")
    assert "env:OPENAI_API_KEY" in file.read_text()
