"""
An application that answers with a file, and tells whether the kernel sent it.
"""

from __future__ import annotations

import tempfile
from typing import Any

from evidence import note
from gunicorn.http.wsgi import Response

from memguard.integrations.wsgi import Middleware

sendfile = Response.sendfile


def told(self: Response, body: Any) -> bool:
    sent: bool = sendfile(self, body)
    note("sendfile", str(sent))
    return sent


Response.sendfile = told


def app(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if environ["PATH_INFO"] != "/file":
        return [b"ok"]
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(bytes(1_000_000))
    file.seek(0)
    return environ["wsgi.file_wrapper"](file)


application = Middleware(app)
