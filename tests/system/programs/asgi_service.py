"""
A Starlette application with a lifespan of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import evidence
from evidence import (
    CHUNK,
    CHUNK_PAUSE_S,
    CHUNKS,
    SLOW_S,
    START_S,
    WITH_MEMGUARD,
    note,
)
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

evidence.declare()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    evidence.own()
    note("starting")
    await asyncio.sleep(START_S)
    yield
    note("app-stopped")


async def quick(request: Request) -> Response:
    return PlainTextResponse("ok")


async def slow(request: Request) -> Response:
    note("slow")
    await asyncio.sleep(SLOW_S)
    return Response(CHUNK)


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK
            note("chunk")
            await asyncio.sleep(CHUNK_PAUSE_S)

    return StreamingResponse(chunks())


application = Starlette(
    routes=[Route("/quick", quick), Route("/slow", slow), Route("/stream", stream)],
    lifespan=lifespan,
)
if WITH_MEMGUARD:
    from memguard.integrations.asgi import MemguardMiddleware

    application.add_middleware(MemguardMiddleware, health="/healthz")
