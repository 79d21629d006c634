"""Images, audio and files as parts of a message: read, checked, sent as content, and part of the cache key."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cli import main
from llmcore.core import Core
from llmcore.errors import BadRequest
from llmcore.llm.attachments import attach
from llmcore_testing.simulator import Simulator

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
GIF = b"GIF89a\x01\x00\x01\x00"
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8 "
PDF = b"%PDF-1.7\n%%EOF\n"
MP3 = b"\xff\xfb\x90\x44" + bytes(100)
FLAC = b"fLaC\x00\x00\x00\x22"


def make_wav() -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(160))
    return held.getvalue()


WAV = make_wav()


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator(models=["tiny"]) as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    llm = {"provider": "openai", "model": "tiny", "openai": openai}
    with llmcore.load({"llm": llm, "cache": {"provider": "memory"}}) as core:
        yield core


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder on this machine."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            del args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def decode(url: str) -> tuple[str, bytes]:
    head, _, data = url.partition(",")
    return head, base64.b64decode(data)


@pytest.mark.parametrize(
    ("content", "mime"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
def test_an_image_is_sent_as_data_under_any_name(content: bytes, mime: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.dat"
    path.write_bytes(content)
    for source in (content, bytearray(content), path, str(path)):
        part = llmcore.image(source)  # type: ignore[arg-type]
        assert part["type"] == "image_url"
        assert decode(part["image_url"]["url"]) == (f"data:{mime};base64", content)
        assert "detail" not in part["image_url"]
    assert llmcore.image(content, detail="low")["image_url"]["detail"] == "low"


@pytest.mark.parametrize(("content", "kind"), [(WAV, "wav"), (MP3, "mp3"), (b"ID3\x04" + MP3, "mp3")])
def test_audio_is_sent_with_its_format(content: bytes, kind: str) -> None:
    part = llmcore.audio(content)
    assert part["type"] == "input_audio"
    assert part["input_audio"]["format"] == kind
    assert base64.b64decode(part["input_audio"]["data"]) == content


def test_a_format_that_only_some_servers_take_is_named() -> None:
    assert llmcore.audio(FLAC, format="flac")["input_audio"]["format"] == "flac"


def test_a_file_has_its_name_and_type(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    part = llmcore.file(path)
    assert part["type"] == "file"
    assert part["file"]["filename"] == "report.pdf"
    assert decode(part["file"]["file_data"]) == ("data:application/pdf;base64", PDF)
    assert llmcore.file(PDF)["file"]["filename"] == "file.pdf"
    assert llmcore.file(PDF, name="a.pdf")["file"]["filename"] == "a.pdf"
    notes = tmp_path / "notes.md"
    notes.write_text("# Notes")
    assert decode(llmcore.file(notes)["file"]["file_data"])[0] == "data:text/markdown;base64"
    assert decode(llmcore.file(b"?")["file"]["file_data"])[0] == "data:application/octet-stream;base64"


def test_a_public_address_of_an_image_is_passed_on() -> None:
    url = "https://example.com/cat.png?size=2"
    assert llmcore.image(url)["image_url"]["url"] == url
    with pytest.raises(BadRequest, match="image must be"):
        llmcore.image("https://example.com/cat.pdf")


def test_an_address_of_this_machine_is_loaded(site: tuple[str, Path]) -> None:
    url, folder = site
    for name, content in (("cat.png", PNG), ("hello.wav", WAV), ("report.pdf", PDF)):
        (folder / name).write_bytes(content)
    assert decode(llmcore.image(f"{url}/cat.png")["image_url"]["url"])[1] == PNG
    assert base64.b64decode(llmcore.audio(f"{url}/hello.wav")["input_audio"]["data"]) == WAV
    assert llmcore.file(f"{url}/report.pdf")["file"]["filename"] == "report.pdf"
    assert attach(f"{url}/cat.png")["type"] == "image_url"
    with pytest.raises(BadRequest, match="at most 10 bytes, got more"):
        llmcore.image(f"{url}/cat.png", max_bytes=10)
    with pytest.raises(BadRequest, match="status 404") as caught:
        llmcore.image(f"{url}/dog.png?token=secret-0123456789")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


Make = Callable[[Any], Any]
FAULTS: list[tuple[Make, Any, str, str | None]] = [
    (llmcore.image, b"", "the image is empty", None),
    (llmcore.image, PDF, "got application/pdf", "llmcore.file(...)"),
    (llmcore.image, WAV, "got audio/wav", "llmcore.audio(...)"),
    (llmcore.image, b"hello", "got content of an unknown type", None),
    (llmcore.image, b"\x00\x00\x00\x18ftypheic", "got image/heic", None),
    (llmcore.audio, PNG, "got image/png", "llmcore.image(...)"),
    (llmcore.audio, FLAC, "got audio/flac", None),
    (llmcore.file, PNG, "got image/png", "llmcore.image(...)"),
    (llmcore.file, 5, "must be a path, bytes or an address, got int", None),
    (lambda data: llmcore.image(data, max_bytes=10), PNG, "at most 10 bytes, got 70", "llmcore.image(..., max_bytes="),
]  # fmt: skip


@pytest.mark.parametrize(("make", "source", "said", "fix"), FAULTS)
def test_an_invalid_attachment_is_rejected(make: Make, source: Any, said: str, fix: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        make(source)
    error = caught.value
    assert said in error.message
    assert error.code == "LC311"
    assert error.expected
    assert error.where
    if fix is not None:
        assert (error.fix or "").startswith(fix)


def test_a_misspelt_path_names_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    with pytest.raises(BadRequest, match="No such file") as caught:
        llmcore.image(tmp_path / "cta.png")
    assert caught.value.suggestion == str(tmp_path / "cat.png")
    assert caught.value.fix == f'llmcore.image("{tmp_path / "cat.png"}")'


@pytest.mark.parametrize("text", ["BM is a brand", "II*", "\ufeffhello", "RIFF", "M4A ", "%PD", "fLa"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_text_that_begins_like_another_type_is_a_file(text: str, coding: str) -> None:
    assert attach(text.encode(coding))["type"] == "file"


def test_the_cache_key_covers_the_content(core: Core, upstream: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"

    def ask() -> llmcore.Reply:
        parts = [{"type": "text", "text": "What is this?"}, llmcore.image(path)]
        return core.llm.chat([{"role": "user", "content": parts}])

    path.write_bytes(PNG)
    assert not ask().cached
    assert ask().cached
    path.write_bytes(PNG + b"\x00")
    assert not ask().cached
    sent = [request.body["messages"][0]["content"][1]["image_url"]["url"] for request in upstream.requests]
    assert [decode(url)[1] for url in sent] == [PNG, PNG + b"\x00"]


CONFIG = (
    '[llm]\nprovider = "openai"\nmodel = "tiny"\n[llm.openai]\nbase_url = "{url}"\napi_key = "env:MY_KEY"\n'
)


def test_the_command_line_attaches_files(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-test")
    Path("llmcore.toml").write_text(CONFIG.format(url=upstream.base_url))
    Path("cat.png").write_bytes(PNG)
    Path("hello.wav").write_bytes(WAV)
    Path("notes.txt").write_text("Notes")
    given = ["ask", "-a", "cat.png", "-a", "hello.wav", "--attach", "notes.txt", "What is this?"]
    assert main(given) == 0
    assert capsys.readouterr().out
    (message,) = upstream.requests[0].body["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "input_audio", "file"]
    assert message["content"][0]["text"] == "What is this?"


def test_a_file_that_is_not_there_is_named_with_its_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llmcore.toml").write_text('[llm]\nprovider = "echo"\n')
    Path("cat.png").write_bytes(PNG)
    assert main(["ask", "-a", "cta.png", "What?", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["suggestion"], error["where"]) == ("cat.png", "-a cta.png")
    assert error["fix"] == "llmcore ask -a cat.png 'What?' --json"
