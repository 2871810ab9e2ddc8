"""
Notes for teams: what grows has an owner, a cap and an end.
"""

from flask import Flask, request

import memguard
from memguard.integrations.flask import Memguard

app = Flask(__name__)
Memguard(app, health="/healthz")

notebooks = memguard.sessions("notebooks", max_sessions=1000, ttl="1h")


@memguard.cached(max_entries=100, ttl="5m")
def team_settings(team):
    return {"team": team, "longest": 280}  # from the database, in real life


@memguard.timer(every="10m", name="forget settings")
def forget_settings():
    team_settings.clear()


@app.post("/<team>/notes")
def add(team):
    text = request.get_data(as_text=True)[: team_settings(team)["longest"]]
    with notebooks.open(team) as notebook:
        notes = notebook.ring("notes", of=str, max_entries=20)
        notes.append(text)
        return {"notes": notes.recent(20)}
