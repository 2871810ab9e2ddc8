"""
One note to the notes service, in a process of its own.
"""

from notes import app

import memguard

with (
    memguard.install(),
    app.test_client().post("/acme/notes", data="buy milk") as answer,
):
    print(answer.json)
