"""
A WSGI application that counts the visits of each path in a session of its own.
"""

from __future__ import annotations

import os
from typing import Any

import memguard
from memguard.integrations.wsgi import Middleware

visits = memguard.sessions("visits")


def count(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/quick":
        return [b"ok"]
    with visits.open(environ["PATH_INFO"]) as session:
        session.data["visits"] = session.data.get("visits", 0) + 1
        answer = f"{session.data['visits']} {os.getpid()}"
    return [answer.encode()]


application = Middleware(count)
