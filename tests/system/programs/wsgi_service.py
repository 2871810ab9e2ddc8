"""
A plain WSGI application: an answer at once, a slow one, and a streamed one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import evidence
from evidence import CHUNK, CHUNK_PAUSE_S, CHUNKS, SLOW_S, WITH_MEMGUARD, note

evidence.declare()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/slow":
        note("slow")
        time.sleep(SLOW_S)
        return [CHUNK]
    if path == "/stream":
        return chunks()
    return [b"ok"]


def chunks() -> Iterator[bytes]:
    for _ in range(CHUNKS):
        yield CHUNK
        note("chunk")
        time.sleep(CHUNK_PAUSE_S)


if WITH_MEMGUARD:
    from memguard.integrations.wsgi import Middleware

    application = Middleware(application)
