"""Starts a gateway, sends it requests, and prints the CPU time of its process for one of them: `python gateway_load.py JOB`.

It uses the standard library alone, because it runs with the interpreter of a peer's environment. JOB is a JSON object:

- `command`: the command that serves; `{port}` is replaced.
- `files`: file name -> text, written into the working directory; `{port}` is replaced.
- `ready`: the path that answers 200 when the gateway is ready.
- `prepare`: a command that prints the key for the requests, optional.
- `headers`: headers of the requests; `{key}` is replaced.
- `body`: the request; `{number}` is replaced by the number of the request, or by 0 with `same`.
- `same`: whether all requests are equal, so that all but the first are answered from the cache.
- `few`, `many`: how many requests warm it up, and how many are measured.
- `chunks`: of a stream; then the figure is that of a chunk, and the requests are sent one after the other.
- `leaves`: the upstream's address; then `many` clients leave, half of them before the first byte, and the figure is how many
  requests were not closed at the upstream within 0.2 s, or are not booked as uncertain.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

CONNECTIONS = 16
STARTS_WITHIN_S = 180.0
WAVE = 20
"""How many clients leave at once."""
CLOSED_WITHIN_S = 0.2
BOOKED_WITHIN_S = 30.0


def main(job: dict[str, Any]) -> None:
    """Measure, and print the figure in microseconds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, text in job.get("files", {}).items():
        Path(name).write_text(text.replace("{port}", str(port)))
    key = ""
    if "prepare" in job:
        key = subprocess.run(job["prepare"], check=True, capture_output=True, text=True).stdout.split()[-1]
    command = [part.replace("{port}", str(port)) for part in job["command"]]
    with Path("server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}{job['ready']}")
            if "leaves" in job:
                print(count_open(port, job, key))
            else:
                print(measure(server.pid, port, job, key))
        except Exception:
            sys.stderr.write(Path("server.log").read_text()[-2000:])
            raise
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until *url* answers 200."""
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the gateway does not start")


def measure(pid: int, port: int, job: dict[str, Any], key: str) -> float:
    """Return the CPU time of process *pid* for one request, or for one chunk."""
    chunks = job.get("chunks", 0)
    width = 1 if chunks else CONNECTIONS
    requests = [make_request(port, job, key, number) for number in range(job["few"] + job["many"])]
    asyncio.run(send(port, requests[: job["few"]], width))
    before = read_cpu(pid)
    asyncio.run(send(port, requests[job["few"] :], width))
    return (read_cpu(pid) - before) / float(job["many"] * (chunks or 1)) * 1e6


def make_request(port: int, job: dict[str, Any], key: str, number: int) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps(job["body"]).replace("{number}", "0" if job.get("same") else str(number)).encode()
    headers = {"host": f"127.0.0.1:{port}", "content-type": "application/json", "accept": "*/*", "user-agent": "bench",
               **{name: value.replace("{key}", key) for name, value in job["headers"].items()}}  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def count_open(port: int, job: dict[str, Any], key: str) -> int:
    """Let clients leave, twenty at once; return how many requests were not closed in time, or are not booked."""
    left: dict[int, float] = {}
    for first in range(0, job["many"], WAVE):
        left.update(let_clients_leave(port, job, key, range(first, first + WAVE)))
    ends = time.monotonic() + BOOKED_WITHIN_S
    booked, closed = 0, fetch(f"{job['leaves']}/closed")
    while time.monotonic() < ends and not booked == len(closed) == job["many"]:
        time.sleep(0.5)
        closed = fetch(f"{job['leaves']}/closed")
        rows = subprocess.run(job["rows"], check=True, capture_output=True, text=True).stdout.splitlines()
        booked = sum(row["state"] == "failed" and bool(row["uncertain"]) for row in map(json.loads, rows))
    in_time = [number for number, at in left.items() if closed.get(number, ends) - at <= CLOSED_WITHIN_S]
    return int(job["many"]) - min(len(in_time), booked)


def let_clients_leave(port: int, job: dict[str, Any], key: str, numbers: range) -> dict[int, float]:
    """Send a request with each number and leave: even ones before the first byte, odd ones inside the stream.

    Return the moment of the monotonic clock at which each client left.
    """
    clients = {number: socket.create_connection(("127.0.0.1", port), timeout=60) for number in numbers}
    for number, client in clients.items():
        text = f"Stream 9000 words, {number}" if number % 2 else f"Hold, {number}"
        body = {**job["body"], "messages": [{"role": "user", "content": text}]}
        client.sendall(make_request(port, {**job, "body": body}, key, number))
    while not clients.keys() <= fetch(f"{job['leaves']}/begun").keys():
        time.sleep(0.05)
    moments = {}
    for number, client in clients.items():
        while number % 2 and b"data: " not in client.recv(65_536):
            pass
        client.close()
        moments[number] = time.monotonic()
    return moments


def fetch(url: str) -> dict[int, float]:
    """Return the requests at *url*, with a moment of the monotonic clock for each."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
        return {int(number): at for number, at in json.load(answer).items()}


async def send(port: int, requests: list[bytes], width: int) -> None:
    """Send *requests* over *width* connections, on each one after the other, and check that each is answered."""
    left = iter(requests)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            writer.write(request)
            await read_answer(reader)
        writer.close()

    await asyncio.gather(*(work() for _ in range(width)))


async def read_answer(reader: asyncio.StreamReader) -> None:
    """Read one answer to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError((head + await reader.read(2000)).decode())
    if b"transfer-encoding: chunked" in head:
        while (size := int(await reader.readline(), 16)) or await reader.readline() != b"\r\n":
            await reader.readexactly(size + 2)
    else:
        length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))


def read_cpu(pid: int) -> float:
    """Return the seconds of CPU time, user and system, that process *pid* and its ended children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
