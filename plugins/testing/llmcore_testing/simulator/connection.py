"""One TCP connection of a client. The connection answers its requests in order."""

from __future__ import annotations

import asyncio  # noqa: TID253 - `import llmcore` does not load this module
import socket
from dataclasses import dataclass, field

from llmcore_testing.simulator.delivery import Exchange, Sender, deliver, deliver_now
from llmcore_testing.simulator.gate import Gate
from llmcore_testing.simulator.openai_errors import make_refusal
from llmcore_testing.simulator.script import Script
from llmcore_testing.simulator.service import AnswerPlan, Service
from llmcore_testing.simulator.wire import RecordedRequest, RequestParser, Unreadable, frame_answer

__all__ = ["Connection", "ServerContext"]


@dataclass(slots=True)
class ServerContext:
    """The shared state of all connections of one simulator."""

    service: Service
    script: Script
    gate: Gate
    latency_s: float
    alive: set[Connection] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 with keep-alive. A client that half-closes the connection counts as disconnected."""

    sender: Sender

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._parser = RequestParser()
        self.task: asyncio.Task[None] | None = None
        """Sends the current answer; None between requests, and for an answer that is written without waiting."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.sender = Sender(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._context.alive.add(self)
        self._context.script.count("connections")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio prescribes the signature
        """See `asyncio.Protocol`."""
        self._context.alive.discard(self)
        self.sender.resume()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.sender.pause()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.sender.resume()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed(data)
        if self.task is None:
            self._advance()

    def _advance(self) -> None:
        try:
            while not self.sender.transport.is_closing() and (request := self._parser.take()):
                self._answer(request)
                if self.task is not None:
                    return
            if self._parser.expects_continue:
                self._parser.expects_continue = False
                self.sender.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except Unreadable as exc:
            out = frame_answer(make_refusal(exc.status, str(exc)), exc.request)
            self.sender.transport.write(out.head + b"".join(out.frames))
            self.sender.transport.close()

    def _answer(self, request: RecordedRequest) -> None:
        plan = self._context.service.begin(request)
        exchange = Exchange(self._context.script, plan.answer, plan.epoch)
        if not self._must_wait(plan):
            deliver_now(self.sender, request, plan.answer, exchange)
            return

        def finish(task: asyncio.Task[None]) -> None:
            exchange.record_disconnect()
            self._finish(task)

        self.task = asyncio.get_running_loop().create_task(self._play(request, plan, exchange))
        self.task.add_done_callback(finish)

    def _must_wait(self, plan: AnswerPlan) -> bool:
        if plan.answer.length is not None or plan.fault is not None or self.sender.full:
            return True
        return plan.epoch is not None and (self._context.latency_s > 0 or self._context.gate.shut)

    async def _play(self, request: RecordedRequest, plan: AnswerPlan, exchange: Exchange) -> None:
        if plan.epoch is not None:
            await self._context.gate.wait_open()
            if self._context.latency_s > 0:
                await asyncio.sleep(self._context.latency_s)
        await deliver(self.sender, request, plan.answer, exchange, plan.fault)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self.task = None
        exc = None if task.cancelled() else task.exception()
        if exc is not None and not isinstance(exc, ConnectionError):
            report = {"message": "the simulator failed to send an answer", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(report)
            self.sender.transport.abort()
        elif not self.sender.transport.is_closing():
            self._advance()
