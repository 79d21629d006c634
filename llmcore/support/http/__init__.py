"""Tools for providers that use an HTTP API through httpx, httpx2 or a client with the same interface.

- `RequestDeadline`, `get_deadline`: how long each step of one request may take, by `timeout_s` and `idle_s`.
- `ThreadClient`, `LoopClients`: the blocking and the asynchronous client, safe over a fork and over several event loops.
- `bound_look_ups`: a time limit for the look-up of host names, for blocking clients.
- `classify_status`, `translate_http_error`, `was_sent`: errors of llmcore for statuses, codes and network failures.
- `parse_retry_after`, `scrub`: the pause that the server asks for; texts without keys.
- `report_sending`, `areport_sending`: report the first byte of a request; see `llmcore.support.sending`.
- `EventParser`, `LineParser`: server-sent events, and lines, for example of JSON.
"""

from llmcore.support.http.clients import LoopClients, ThreadClient
from llmcore.support.http.deadline import RequestDeadline, get_deadline
from llmcore.support.http.events import EventParser
from llmcore.support.http.failures import translate_http_error, was_sent
from llmcore.support.http.lines import LineParser
from llmcore.support.http.name_look_ups import bound_look_ups
from llmcore.support.http.statuses import classify_status
from llmcore.support.http.texts import scrub
from llmcore.support.http.trace import areport_sending, report_sending
from llmcore.support.retry_after import parse_retry_after

__all__ = [
    "EventParser",
    "LineParser",
    "LoopClients",
    "RequestDeadline",
    "ThreadClient",
    "areport_sending",
    "bound_look_ups",
    "classify_status",
    "get_deadline",
    "parse_retry_after",
    "report_sending",
    "scrub",
    "translate_http_error",
    "was_sent",
]
