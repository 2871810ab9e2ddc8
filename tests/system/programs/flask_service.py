"""
A Flask application: an answer at once, a slow one, and a streamed one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import evidence
from evidence import CHUNK, CHUNK_PAUSE_S, CHUNKS, SLOW_S, WITH_MEMGUARD, note
from flask import Flask, Response

evidence.declare()
application = Flask(__name__)
if WITH_MEMGUARD:
    from memguard.integrations.flask import Memguard

    Memguard(application, health="/healthz")


@application.get("/quick")
def quick() -> str:
    return "ok"


@application.get("/slow")
def slow() -> bytes:
    note("slow")
    time.sleep(SLOW_S)
    return CHUNK


@application.get("/stream")
def stream() -> Response:
    def chunks() -> Iterator[bytes]:
        for _ in range(CHUNKS):
            yield CHUNK
            note("chunk")
            time.sleep(CHUNK_PAUSE_S)

    return Response(chunks(), mimetype="text/plain")
