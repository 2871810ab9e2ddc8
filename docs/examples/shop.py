"""
A shop, small enough to be read at a glance.
"""

from flask import Flask

import memguard
from memguard.integrations.flask import Memguard

app = Flask(__name__)
Memguard(app, health="/healthz")
carts = memguard.sessions("carts", ttl="1h")


@memguard.timer(every="1m")
def refresh_prices(): ...


@app.post("/<user>/cart/<article>")
def add(user, article):
    with carts.open(user) as cart:
        articles = cart.ring("articles", of=str, max_entries=100)
        articles.append(article)
        return {"cart": articles.recent(100)}
