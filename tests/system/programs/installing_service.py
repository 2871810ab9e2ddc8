"""
A Flask application whose module installs memguard, and says in which process it runs.
"""

from __future__ import annotations

from evidence import note
from flask import Flask

import memguard
from memguard.integrations.flask import Memguard

memguard.install()
application = Flask(__name__)
Memguard(application)


@memguard.timer(every="10ms", name="first")
def first() -> None:
    first.cancel()
    note("armed")


@application.get("/quick")
def quick() -> str:
    return "ok"
