"""One TCP connection of a client. The connection answers its requests in order."""

from __future__ import annotations

import asyncio  # noqa: TID253 - `import llmcore` does not load this module
import socket
from dataclasses import dataclass, field

from llmcore_testing.simulator.delivery import Flight, Line, deliver, deliver_now
from llmcore_testing.simulator.gate import Gate
from llmcore_testing.simulator.refusals import make_refusal
from llmcore_testing.simulator.script import Script
from llmcore_testing.simulator.service import Plan, Service
from llmcore_testing.simulator.wire import RecordedRequest, RequestParser, Unreadable, frame_answer

__all__ = ["Connection", "Premises"]


@dataclass(slots=True)
class Premises:
    """The shared state of all connections of one simulator."""

    service: Service
    script: Script
    gate: Gate
    latency_s: float
    alive: set[Connection] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 with keep-alive. A client that half-closes the connection counts as disconnected."""

    line: Line

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._parser = RequestParser()
        self.task: asyncio.Task[None] | None = None
        """Sends the current answer; None between requests, and for an answer that is written without waiting."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.line = Line(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._premises.alive.add(self)
        self._premises.script.count("connections")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio prescribes the signature
        """See `asyncio.Protocol`."""
        self._premises.alive.discard(self)
        self.line.resume()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.line.pause()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.line.resume()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed(data)
        if self.task is None:
            self._advance()

    def _advance(self) -> None:
        try:
            while not self.line.transport.is_closing() and (request := self._parser.take()):
                self._answer(request)
                if self.task is not None:
                    return
            if self._parser.expects_continue:
                self._parser.expects_continue = False
                self.line.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except Unreadable as exc:
            out = frame_answer(make_refusal(exc.status, str(exc)), exc.request)
            self.line.transport.write(out.head + b"".join(out.frames))
            self.line.transport.close()

    def _answer(self, request: RecordedRequest) -> None:
        plan = self._premises.service.begin(request)
        flight = Flight(self._premises.script, plan.answer, plan.epoch)
        if not self._must_wait(plan):
            deliver_now(self.line, request, plan.answer, flight)
            return

        def finish(task: asyncio.Task[None]) -> None:
            flight.record_disconnect()
            self._finish(task)

        self.task = asyncio.get_running_loop().create_task(self._play(request, plan, flight))
        self.task.add_done_callback(finish)

    def _must_wait(self, plan: Plan) -> bool:
        if plan.answer.length is not None or plan.fault is not None or self.line.full:
            return True
        return plan.epoch is not None and (self._premises.latency_s > 0 or self._premises.gate.shut)

    async def _play(self, request: RecordedRequest, plan: Plan, flight: Flight) -> None:
        if plan.epoch is not None:
            await self._premises.gate.wait_open()
            if self._premises.latency_s > 0:
                await asyncio.sleep(self._premises.latency_s)
        await deliver(self.line, request, plan.answer, flight, plan.fault)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self.task = None
        exc = None if task.cancelled() else task.exception()
        if exc is not None and not isinstance(exc, ConnectionError):
            report = {"message": "the simulator failed to send an answer", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(report)
            self.line.transport.abort()
        elif not self.line.transport.is_closing():
            self._advance()
