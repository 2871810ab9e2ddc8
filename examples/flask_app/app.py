"""
A multi-tenant chat API: everything in it that could grow has an owner, a cap, an end.

Run it with `gunicorn --config gunicorn.conf.py app:app`; stop it with SIGTERM.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flask import Flask, Response, abort, g, request

import memguard
from memguard.integrations.flask import Memguard

DATABASE = os.environ.get("CHAT_DATABASE", "chat.sqlite3")
ARCHIVE = os.environ.get("CHAT_ARCHIVE", "chat.jsonl")
COLD = os.environ.get("CHAT_COLD", "conversations.jsonl")

app = Flask(__name__)
Memguard(app, health="/healthz")


# A pool: at most ten connections, idle ones closed after 10 s, all closed at the end.
def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, check_same_thread=False, timeout=10)
    connection.execute("pragma journal_mode = wal")
    connection.execute(
        "create table if not exists messages"
        " (id integer primary key, tenant text, author text, text text)"
    )
    return connection


db = memguard.pool("db", connect)


# A cached function: bounded by entries, bytes and age; one load at a time for a key.
@memguard.cached(max_entries=1000, max_bytes="16MiB", ttl="5m")
def tenant_config(tenant: str) -> dict[str, Any]:
    with db.acquire() as connection:
        (stored,) = connection.execute(
            "select count(*) from messages where tenant = ?", (tenant,)
        ).fetchone()
    return {"tenant": tenant, "stored": stored, "max_length": 2000}


# A timer: runs until the shutdown, on a thread of the guard.
@memguard.timer(every="30s", name="refresh tenants")
def refresh() -> None:
    tenant_config.clear()


# An emitter: its listeners go with it, and too many of them are named by their site.
bus = memguard.emitter("chat")


@bus.on("posted")
def store(tenant: str, author: str, text: str) -> None:
    with db.acquire() as connection, connection:
        connection.execute(
            "insert into messages (tenant, author, text) values (?, ?, ?)",
            (tenant, author, text),
        )


# A ring: the newest thousand events in at most 1 MiB, and counts of all there were.
events = memguard.ring("events", max_entries=1000, max_bytes="1MiB")


@bus.on("posted")
def note(tenant: str, author: str, text: str) -> None:
    events.append({"tenant": tenant, "length": len(text)}, key="posted")


# A sink: every message as a line of JSON, in rotated files; the workers share them.
archive = memguard.sink(ARCHIVE, rotate_bytes="16MiB", keep=3)


@bus.on("posted")
def keep(tenant: str, author: str, text: str) -> None:
    archive.write({"tenant": tenant, "author": author, "text": text})


# A log handler: the newest log records as text, and how many there were of each level.
log = memguard.log_handler("recent", max_entries=200, level="INFO")
logging.getLogger().addHandler(log)


# Series: the newest thousand durations of each endpoint, in 8 bytes each.
@app.before_request
def begin() -> None:
    g.began = time.perf_counter()


@app.after_request
def measure(response: Response) -> Response:
    # Named by the endpoint and not by the path: names are bounded, and few.
    latency = memguard.series(f"latency of {request.endpoint}")
    latency.add(time.perf_counter() - g.began)
    return response


# Sessions: the last 20 messages of each user. The workers share them: each has at most
# 20 live, those that were used last; the others sleep on disk, where any worker finds
# them. What nobody has used for 1 h goes to an archive.
chat = memguard.sessions(
    "chat", ttl="1h", hibernate_after="10m", max_live=20, archive=COLD
)


@chat.on_restore
def back(session: memguard.Session) -> None:
    events.append({"tenant": session.id.partition(":")[0]}, key="restored")


@chat.on_expire
def over(expired: memguard.ExpiredSession) -> None:
    events.append({"posted": expired.data.get("posted", 0)}, key="expired")


def user() -> str:
    return request.headers.get("X-User", "guest")


@app.post("/<tenant>/messages")
def post(tenant: str) -> dict[str, Any]:
    text = str((request.get_json(silent=True) or {}).get("text", ""))
    if not 0 < len(text) <= tenant_config(tenant)["max_length"]:
        abort(422)
    # durable: who gets an answer finds the message again, whatever happens to us.
    with chat.open(f"{tenant}:{user()}", durable=True) as session:
        history = session.ring("messages", of=str, max_entries=20)
        history.append(text)
        session.data["posted"] = session.data.get("posted", 0) + 1
        bus.emit("posted", tenant, user(), text)
        return {"history": history.recent(20), "posted": session.data["posted"]}


@app.get("/<tenant>/messages")
def recent(tenant: str) -> dict[str, Any]:
    with chat.open(f"{tenant}:{user()}") as session:
        return {"history": session.ring("messages", of=str, max_entries=20).recent(20)}


# A streamed answer: the connection stays in use until the last line was sent. So there
# are three at once, to leave connections for the others; the rest stand in line.
exports = memguard.limiter("exports", max_in_flight=3)


@app.get("/<tenant>/export")
def export(tenant: str) -> Response:
    def lines() -> Iterator[str]:
        with exports(timeout="10s"), db.acquire() as connection:
            rows = connection.execute(
                "select author, text from messages where tenant = ? order by id",
                (tenant,),
            )
            for author, text in rows:
                yield json.dumps({"author": author, "text": text}) + "\n"

    return Response(lines(), mimetype="application/x-ndjson")


@app.get("/stats")
def stats() -> dict[str, Any]:
    latency = memguard.series("latency of post").stats()
    return {
        "pid": os.getpid(),
        **memguard.snapshot().to_dict(),
        "sessions": asdict(chat.stats()),
        "cache": tenant_config.info().entries,
        "events": {"newest": events.recent(3), "counts": events.counts()},
        "latency": {"count": latency.count, "p50": latency.p50, "p99": latency.p99},
        "connections": db.stats().used,
        "exports": exports.info().granted,
        "archived": archive.info().records,
        "logged": log.counts(),
    }
