"""A mail server on loopback: aiosmtpd with a user `ann` and a password, over STARTTLS, TLS or neither."""

from __future__ import annotations

import email
import email.message
import email.policy
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.kits.redis_tls import Certificates

__all__ = ["PASSWORD", "MailServer", "run_mail_server"]

PASSWORD: Final = "canary-of-the-mail-server"  # noqa: S105 - of a server in a test


class _Controller(Controller):
    """Listens on a free port, which it learns before it waits until the server answers."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class MailServer:
    """Stores the e-mails that it gets."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.logins: list[bool] = []
        """For each e-mail, whether its sender had logged in."""
        self.over_tls: list[bool] = []
        self.port = 0

    async def handle_DATA(self, smtp: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the name of aiosmtpd
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, email.message.EmailMessage)
        self.logins.append(bool(session.authenticated))
        self.over_tls.append(smtp.transport.get_extra_info("ssl_object") is not None)
        self.mails.append(message)
        return "250 OK"


def _check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    # aiosmtpd answers the client itself if the result is not `handled`
    return AuthResult(success=(data.login, data.password) == (b"ann", PASSWORD.encode()), handled=False)


@contextmanager
def run_mail_server(security: str, certificates: Certificates) -> Iterator[MailServer]:
    """Run a server. *security* is that of [smtp]."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    options: dict[str, Any] = {"authenticator": _check, "auth_require_tls": False}
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    server = MailServer()
    controller = _Controller(
        server,
        hostname="127.0.0.1",
        port=0,
        ready_timeout=60,
        ssl_context=context if security == "tls" else None,
        **options,
    )
    controller.start()
    try:
        server.port = controller.port
        yield server
    finally:
        controller.stop()
