"""Alerts reach a mail server and a webhook of Slack; nothing secret is in them or in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from tests.kits.alerts import Hook, wait_for_alerts
from tests.kits.mail_server import PASSWORD, MailServer, run_mail_server
from tests.kits.money import ASK, make_config
from tests.kits.redis_tls import Certificates, make_certificates

PROMPT = "a prompt that no receiver may see"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["starttls", "tls", "none"])
def mail(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[str, MailServer]]:
    with run_mail_server(request.param, certificates) as server:
        yield request.param, server


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    return certificates


def make_settings(folder: Path, security: str, port: int, **smtp: Any) -> dict[str, Any]:
    settings = make_config(
        folder,
        limit="0.05 USD",
        per="day",
        alert_at=[0.5, 1.0],
        alert_email=["ann@example.com", "ben@example.com"],
    )
    server = {"host": "localhost", "port": port, "security": security, "user": "ann", "password": PASSWORD}
    return {**settings, "smtp": {**server, **smtp}}


def test_an_alert_arrives_as_an_e_mail(
    scripted: Any,
    mail: tuple[str, MailServer],
    trusted: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del scripted, trusted
    security, server = mail
    settings = make_settings(tmp_path, security, server.port, sender="llmcore@example.com")
    with llmcore.load(settings) as core, caplog.at_level(logging.WARNING, "llmcore"):
        for number in range(2):
            core.llm.chat(f"{PROMPT} {number}", **ASK)
        wait_for_alerts()
    (message,) = server.mails
    assert message["To"] == "ann@example.com, ben@example.com"
    assert message["From"] == "llmcore@example.com"
    assert message["Subject"] == "llmcore: budget `day`: $0.025 of $0.05 spent"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "Limit:    $0.05" in text
    assert (server.logins, server.over_tls) == ([True], [security != "none"])
    for secret in (PROMPT, PASSWORD):
        assert secret not in str(message)
        assert secret not in caplog.text


def test_a_failure_is_logged_once_until_an_alert_arrives(
    scripted: Any,
    trusted: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del scripted
    with run_mail_server("starttls", trusted) as server:
        settings = make_settings(tmp_path, "starttls", server.port, password="canary-wrong")  # noqa: S106
        with llmcore.load(settings) as core, caplog.at_level(logging.WARNING, "llmcore"):
            for number in range(4):
                assert core.llm.chat(f"{number}", **ASK).text
                wait_for_alerts()
        assert server.mails == []
    failures = [record.message for record in caplog.records if "could not be sent" in record.message]
    assert failures == ["an alert could not be sent to alert_email: SMTPAuthenticationError 535"]
    assert "canary" not in caplog.text


def test_the_certificate_of_a_mail_server_is_checked(
    scripted: Any, certificates: Certificates, tmp_path: Path
) -> None:
    del scripted
    with run_mail_server("starttls", certificates) as server:
        with llmcore.load(make_settings(tmp_path, "starttls", server.port)) as core:
            (delivery,) = core.usage.test_alerts()
        assert server.mails == []
    assert delivery.error == "SSLCertVerificationError"


def test_a_password_needs_tls_except_on_this_machine(scripted: Any, tmp_path: Path) -> None:
    del scripted
    settings = make_settings(tmp_path, "none", 25, host="smtp.invalid")
    with llmcore.load(settings) as core:
        (delivery,) = core.usage.test_alerts()
    assert delivery.error == '[smtp] must use TLS to send a password: security = "starttls" or "tls"'


def test_slack_gets_a_text_next_to_the_webhook(scripted: Any, tmp_path: Path, hook: Hook) -> None:
    del scripted
    settings = make_config(
        tmp_path,
        limit="0.02 USD",
        alert_at=[0.5],
        tag="<b>&c",
        alert_url=hook.url,
        alert_slack_url=hook.url.replace("/hook", "/slack"),
    )
    settings["budgets"] = [settings.pop("budget")]
    with llmcore.load(settings) as core:
        core.llm.chat(PROMPT, tags="<b>&c", **ASK)
        wait_for_alerts()
    event, message = hook.bodies
    assert event["budget"] == "total tag=<b>&c"
    assert event["reason"] == "fraction"
    assert message == {"text": "llmcore: budget `total tag=&lt;b&gt;&amp;c`: $0.0125 of $0.02 spent"}
