"""
The notes service on a bad day: each request starts a thread that nobody stops.
"""

import threading

from notes import app

stop = threading.Event()


def mail_a_digest():
    stop.wait(60)


@app.before_request
def schedule_a_digest():
    threading.Thread(target=mail_a_digest, daemon=True).start()


def one_request():
    with app.test_client().post("/acme/notes", data="buy milk") as answer:
        print(answer.json)
