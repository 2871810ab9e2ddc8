"""
gunicorn's settings for the shop.
"""

from memguard.integrations.gunicorn import *  # noqa: F403 - gunicorn reads hooks by name

bind = "unix:shop.sock"
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
        }
    }
}
