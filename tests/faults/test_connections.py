"""A connection that is used stays; one whose request does not come is closed."""

from __future__ import annotations

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from agentlm.server.http.connection import Connection
from support.serving import Running, Serve

BODY = b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}]%s}'
POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
)


def request(fields: bytes = b"") -> bytes:
    body = BODY % fields
    return POST + b"content-length: %d\r\n\r\n%s" % (len(body), body)


@asynccontextmanager
async def connected(running: Running) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: StreamReader) -> bytes:
    """The head of one answer, once its body has come too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return head


NO_REQUESTS = [
    b"",
    b"\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: local",
    POST + b"content-length: 100\r\n\r\n",
    request()[:-1],
]


async def test_who_sends_no_whole_request_is_let_go(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def sent(running: Running, part: bytes) -> bytes:
        async with connected(running) as (reader, writer):
            writer.write(part)
            return await reader.read()

    async with serve(request_wait_s=0.2) as running:
        answers = await asyncio.gather(*(sent(running, part) for part in NO_REQUESTS))

        assert answers == [b""] * len(NO_REQUESTS)
        assert running.trajectories() == []
    assert caplog.record_tuples == []


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(serve: Serve) -> None:
    async with serve(request_wait_s=0.2) as running, connected(running) as (reader, writer):
        closed = asyncio.create_task(reader.read())
        writer.write(POST)
        while not closed.done():
            writer.write(b"x")
            await asyncio.wait([closed], timeout=0.05)

        assert closed.result() == b""


async def test_a_second_request_is_awaited_no_longer_than_the_first(serve: Serve) -> None:
    async with (
        serve("Hello.", request_wait_s=0.3) as running,
        connected(running) as (reader, writer),
    ):
        writer.write(request())
        await answer(reader)
        writer.write(request()[:40])

        assert await reader.read() == b""


async def test_a_body_may_take_its_time_as_long_as_it_comes(serve: Serve) -> None:
    async with serve("Hello.", request_wait_s=1) as running, connected(running) as (reader, writer):
        head, body = request().split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        for start in range(0, len(body), 10):
            await asyncio.sleep(0.2)
            writer.write(body[start : start + 10])

        assert b" 200 OK" in await answer(reader)


async def test_an_answer_may_take_its_time(serve: Serve) -> None:
    async with serve(*["word " * 2] * 2, delay_s=0.05, request_wait_s=0.1) as running:
        for fields in (b"", b',"stream":true'):
            async with connected(running) as (reader, writer):
                writer.write(request(fields).replace(b"host:", b"connection: close\r\nhost:"))
                text = await reader.read()

            assert b" 200 OK" in text
            assert b'"finish_reason": "stop"' in text


@asynccontextmanager
async def answering(
    wait_s: float, *pieces: bytes, kept_bytes: int = 4096
) -> AsyncIterator[tuple[socket.socket, asyncio.Event]]:
    """A client that has asked and reads by hand, and whether its answer has come to an end."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.set()

    kind = type("Kind", (Connection,), {"wait_s": wait_s})
    config = uvicorn.Config(app, http=kind, lifespan="off", log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: kind(config, ServerState(), {}), "127.0.0.1", 0)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kept_bytes)
    client.setblocking(False)
    async with server:
        await loop.sock_connect(client, server.sockets[0].getsockname())
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with client:
            yield client, ended


LARGE = b"x" * (8 << 20)
"""More than kernels keep of what is not read."""


@pytest.mark.parametrize("pieces", [[LARGE], [LARGE[: 1 << 16]] * 128], ids=["whole", "in pieces"])
async def test_who_reads_nothing_of_an_answer_is_let_go(pieces: list[bytes]) -> None:
    async with answering(0.3, *pieces) as (client, ended):
        await asyncio.wait_for(ended.wait(), timeout=20)

        await asyncio.sleep(0.1)
        assert await everything(client) < len(LARGE)


async def everything(client: socket.socket, pause_s: float = 0) -> int:
    """Read to the end, with pauses."""
    received = 0
    while data := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
        received += len(data)
        await asyncio.sleep(pause_s)
    return received


async def test_who_reads_slowly_is_waited_for() -> None:
    async with answering(0.5, LARGE, kept_bytes=1 << 18) as (client, ended):
        reading = asyncio.create_task(everything(client, pause_s=0.02))
        await asyncio.wait_for(ended.wait(), timeout=20)
        client.shutdown(socket.SHUT_WR)

        assert await reading > len(LARGE)


async def test_a_head_without_an_end_is_refused(serve: Serve) -> None:
    async with serve() as running, connected(running) as (reader, writer):
        writer.write(POST + b"x: " + b"x" * 65_000)
        await asyncio.sleep(0.1)
        writer.write(b"x" * 1000)

        assert b" 400 " in (await reader.read()).split(b"\r\n")[0]


def naming(target: bytes, *hosts: bytes) -> bytes:
    lines = b"".join(b"%s: %s\r\n" % (b"Host", host) for host in hosts)
    return b"GET %s HTTP/1.1\r\n%sconnection: close\r\n\r\n" % (target, lines)


MISLEADING = {
    "two hosts": naming(b"/health", b"127.0.0.1", b"evil.example"),
    "the same host twice": naming(b"/health", b"127.0.0.1", b"127.0.0.1"),
    "no host": naming(b"/health"),
    "an empty host": naming(b"/health", b""),
    "a user": naming(b"/health", b"127.0.0.1@evil.example"),
    "a port and more": naming(b"/health", b"127.0.0.1:80@evil.example"),
    "two in one": naming(b"/health", b"127.0.0.1, evil.example"),
    "a path": naming(b"/health", b"127.0.0.1/evil.example"),
    "a line break": naming(b"/health", b"127.0.0.1\r\n evil.example"),
    "a target elsewhere": naming(b"http://evil.example/health", b"127.0.0.1"),
    "a target with a user": naming(b"http://127.0.0.1@evil.example/health", b"127.0.0.1"),
    "a target without a path": naming(b"http://evil.example", b"127.0.0.1"),
    "a target of another port": naming(b"HTTPS://127.0.0.1:1/health", b"127.0.0.1"),
    "a way to elsewhere": naming(b"evil.example:443", b"127.0.0.1").replace(b"GET", b"CONNECT"),
}


@pytest.mark.parametrize("key", [None, "secret"])
@pytest.mark.parametrize("sent", MISLEADING.values(), ids=MISLEADING)
async def test_a_request_that_could_be_meant_for_another_host_is_refused(
    serve: Serve, sent: bytes, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(api_key=key) as running, connected(running) as (reader, writer):
        writer.write(sent)
        assert b" 400 " in (await reader.read()).split(b"\r\n")[0]
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    "sent",
    [
        naming(b"http://127.0.0.1:80/health", b"127.0.0.1:80"),
        naming(b"http://LOCALHOST/health?a=b", b"localhost"),
        naming(b"/health", b"[::1]:8000"),
        naming(b"/health")
        .replace(b"HTTP/1.1", b"HTTP/1.0")
        .replace(b"\r\n", b"\r\nHost: localhost\r\n", 1),
    ],
)
async def test_a_target_that_names_this_host_is_its_path(serve: Serve, sent: bytes) -> None:
    async with serve() as running, connected(running) as (reader, writer):
        writer.write(sent)
        assert b" 200 OK" in (await reader.read()).split(b"\r\n")[0]
