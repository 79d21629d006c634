"""Send an alert to its receivers: the log, observers, two kinds of webhooks, e-mail and a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.config.money import Budget
from llmcore.errors import ConfigError
from llmcore.interrupts import is_interrupt
from llmcore.ledger.alert_events import describe
from llmcore.ledger.alert_queue import AlertQueue
from llmcore.log import get_logger
from llmcore.types import AlertEvent

__all__ = ["AlertDelivery", "Delivery", "list_receivers"]

_TIMEOUT_S: Final = 10.0
"""The timeout in seconds of a webhook, of each step of an e-mail, and of a command."""
_RECEIVERS: Final = ("alert_url", "alert_slack_url", "alert_email", "alert_command")
"""The keys of a budget that name a receiver."""


class Delivery(NamedTuple):
    """The result of sending one alert to one receiver."""

    budget: str
    """The name of the budget."""
    receiver: str
    """alert_url, alert_slack_url, alert_email, alert_command, or the class of an observer."""
    error: str | None
    """The reason why sending failed, without addresses and secrets; None if the alert was sent."""


def list_receivers(budget: Budget) -> list[str]:
    """Return the keys of *budget* that name receivers and are set."""
    return [name for name in _RECEIVERS if getattr(budget, name)]


class AlertDelivery:
    """Sends alerts.

    Args:
        observers: The configured observers. Those without `on_alert` receive no alerts.
        get_smtp: Returns the options of the section [smtp].
        queue: Runs the deliveries that may take seconds.
    """

    def __init__(self, observers: Sequence[Any], get_smtp: Callable[[], Any], queue: AlertQueue) -> None:
        self._queue = queue
        self._observers = [observer for observer in observers if getattr(observer, "on_alert", None)]
        self._get_smtp = get_smtp
        self._failing: set[tuple[str, str]] = set()
        """Pairs of budget and receiver whose last delivery failed. Their next failure is not logged."""

    def send(self, budget: Budget, event: AlertEvent) -> None:
        """Log the alert and notify the observers. Send the alert to the other receivers in a thread.

        Of consecutive failures for one budget and receiver, only the first is logged.
        """
        get_logger(__name__).warning("%s", describe(event))
        self._log_failures(self._notify_observers(event))
        if list_receivers(budget):
            self._queue.submit(partial(self._send_to_receivers, budget, event))

    def deliver(self, budget: Budget, event: AlertEvent) -> list[Delivery]:
        """Send the alert to observers and receivers, and wait for the result of each."""
        return [*self._notify_observers(event), *self._deliver(budget, event)]

    def _notify_observers(self, event: AlertEvent) -> list[Delivery]:
        return [
            _try(event, type(observer).__qualname__, observer.on_alert, event) for observer in self._observers
        ]

    def _send_to_receivers(self, budget: Budget, event: AlertEvent) -> None:
        self._log_failures(self._deliver(budget, event))

    def _deliver(self, budget: Budget, event: AlertEvent) -> list[Delivery]:
        senders: dict[str, Callable[[Budget, AlertEvent], None]] = {
            "alert_url": _post_event,
            "alert_slack_url": _post_message,
            "alert_email": self._send_mail,
            "alert_command": _run_command,
        }
        return [_try(event, name, senders[name], budget, event) for name in list_receivers(budget)]

    def _send_mail(self, budget: Budget, event: AlertEvent) -> None:
        from llmcore.ledger.alert_mail import send_mail

        send_mail(self._get_smtp(), budget.alert_email, event, _TIMEOUT_S)

    def _log_failures(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            receiver = (delivery.budget, delivery.receiver)
            if delivery.error is None:
                self._failing.discard(receiver)
            elif receiver not in self._failing:
                self._failing.add(receiver)
                get_logger(__name__).warning(
                    "an alert could not be sent to %s: %s", receiver[1], delivery.error
                )


def _try(event: AlertEvent, receiver: str, act: Callable[..., Any], *args: Any) -> Delivery:
    try:
        act(*args)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return Delivery(event.budget, receiver, _explain(error))
    return Delivery(event.budget, receiver, None)


def _explain(error: BaseException) -> str:
    # A `ConfigError` names the variable of a secret, but not the secret, so its text can be logged. Of other errors,
    # only the type and the status are logged: their text may contain the URL, and the URL may contain a secret.
    if isinstance(error, ConfigError):
        return error.message
    statuses = (getattr(error, name, None) for name in ("code", "smtp_code", "returncode"))
    status = next((each for each in statuses if isinstance(each, int)), None)
    return type(error).__name__ if status is None else f"{type(error).__name__} {status}"


def _post_event(budget: Budget, event: AlertEvent) -> None:
    assert budget.alert_url is not None  # noqa: S101 - `list_receivers` lists only keys that are set
    _post(budget.alert_url.reveal(), msgspec.json.encode(event))


def _post_message(budget: Budget, event: AlertEvent) -> None:
    assert budget.alert_slack_url is not None  # noqa: S101 - `list_receivers` lists only keys that are set
    text = describe(event)
    # Slack reads these characters as markup.
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    _post(budget.alert_slack_url.reveal(), msgspec.json.encode({"text": f"llmcore: {text}"}))


def _post(url: str, body: bytes) -> None:
    import urllib.request

    from llmcore.support.certificates import check_certificates
    from llmcore.support.proxies import find_proxy

    proxy = find_proxy(url)
    if url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:")):
        check_certificates()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - the configuration accepts only http and https URLs
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the configuration accepts only http and https URLs
        response.read(1)


def _run_command(budget: Budget, event: AlertEvent) -> None:
    import subprocess

    subprocess.run(  # noqa: S603 - the user's own command
        budget.alert_command,
        input=msgspec.json.encode(event),
        timeout=_TIMEOUT_S,
        check=True,
        capture_output=True,
    )
