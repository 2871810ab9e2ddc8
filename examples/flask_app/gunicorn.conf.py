"""
gunicorn's settings for the example; memguard's hooks come with the star import.
"""

import os
import sys

from memguard.integrations.gunicorn import *  # noqa: F403 - gunicorn reads hooks by name

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

bind = os.environ.get("CHAT_BIND", "127.0.0.1:8000")
workers = 2
worker_class = "gthread"
threads = 4
graceful_timeout = 30
logconfig_dict = {
    "loggers": {
        "memguard": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": False,
            "qualname": "memguard",
        }
    },
}


def post_fork(server, worker):  # type: ignore[no-untyped-def]
    import telemetry

    telemetry.set_up("flask_app")


hooks(globals())  # noqa: F405 - chains memguard's post_fork with the one above
