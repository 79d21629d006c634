"""Send an alert as an e-mail through the server in [smtp]."""

from __future__ import annotations

import email.message
import email.utils
import ipaddress
import smtplib
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from llmcore.errors import ConfigError
from llmcore.ledger.alert_events import describe
from llmcore.support.certificates import check_certificates
from llmcore.support.money import format_amount
from llmcore.types import AlertEvent

if TYPE_CHECKING:
    from llmcore.builtin.options import SmtpOptions

__all__ = ["send_mail"]

_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


def send_mail(options: SmtpOptions, recipients: Sequence[str], event: AlertEvent, timeout_s: float) -> None:
    """Send *event* to *recipients*.

    Args:
        options: The options of the section [smtp].
        recipients: E-mail addresses.
        event: The alert.
        timeout_s: Seconds for the connection and for each answer of the server.

    Raises:
        ConfigError: [smtp] has a user without a password, or a password without TLS.
        OSError: The server cannot be reached, or refuses the e-mail.
    """
    _check(options)
    message = _make_message(options, recipients, event)
    with _connect(options, timeout_s) as server:
        if options.user is not None and options.password is not None:
            server.login(options.user, options.password.reveal())
        refused = server.send_message(message)
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)


def _check(options: SmtpOptions) -> None:
    if (options.user is None) != (options.password is None):
        raise ConfigError(
            "[smtp] must have both `user` and `password`, or neither", code="LC112", where="[smtp]"
        )
    if options.password is not None and options.security == "none" and not _is_loopback(options.host):
        raise ConfigError(
            '[smtp] must use TLS to send a password: security = "starttls" or "tls"',
            code="LC100",
            where="[smtp] security",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _connect(options: SmtpOptions, timeout_s: float) -> smtplib.SMTP:
    port = _PORTS[options.security] if options.port is None else options.port
    if options.security == "none":
        return smtplib.SMTP(options.host, port, timeout=timeout_s)
    check_certificates()
    context = ssl.create_default_context()
    if options.security == "tls":
        return smtplib.SMTP_SSL(options.host, port, timeout=timeout_s, context=context)
    server = smtplib.SMTP(options.host, port, timeout=timeout_s)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _make_message(
    options: SmtpOptions, recipients: Sequence[str], event: AlertEvent
) -> email.message.EmailMessage:
    user = options.user if options.user is not None and "@" in options.user else None
    text = describe(event)
    message = email.message.EmailMessage()
    message["From"] = options.sender or user or recipients[0]
    message["To"] = ", ".join(recipients)
    # A tag or a user may contain line breaks, which a header must not have.
    message["Subject"] = "llmcore: " + " ".join(text.split())
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid("llmcore")
    message["Auto-Submitted"] = "auto-generated"
    period = event.period if event.period == "total" else f"{event.period} (UTC)"
    lines = [
        f"{text[0].upper()}{text[1:]}.",
        "",
        f"Period:   {period}",
        f"Limit:    {format_amount(event.limit, event.unit)}",
        f"Spent:    {format_amount(event.spent, event.unit)}",
        f"Reserved: {format_amount(event.reserved, event.unit)}",
        "",
        "`llmcore usage` shows what it was spent on.",
    ]
    message.set_content("\n".join(lines) + "\n")
    return message
