"""
Restores the sessions of a service, says what they were, and uses them until it is
killed.

Lines on its output: `has <json>` for each session, `ready <s> <s>` with what restoring
took and what the process has used of a processor, then `try <number> <what> <id>`
before and `ok <number>` after each use. What a session contains is made of the number
of its last use, so that everything torn or mixed shows.
"""

import itertools
import json
import os
import random
import sys
import threading
from hashlib import sha256
from time import monotonic, process_time

import memguard

IDS = [f"user {number}" for number in range(24)]
THREADS = 2


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def digest(*words: object) -> str:
    return sha256(repr(words).encode()).hexdigest()


def shown(session: memguard.Session, key: str) -> dict[str, object]:
    data = session.data
    history = session.ring("history", of=int, max_entries=20)
    return {
        "id": key,
        "number": data["number"],
        "sound": data["digest"] == digest(key, data["number"], len(data["pad"])),
        "last": history.recent(1),
        "kept": len(history),
        "uses": data["uses"],
    }


def change(session: memguard.Session, key: str, number: int, size: int) -> None:
    data = session.data
    data["number"] = number
    data["pad"] = "x" * size
    data["uses"] = data.get("uses", 0) + 1
    data["digest"] = digest(key, number, size)
    session.ring("history", of=int, max_entries=20).append(number)


def use(
    chat: memguard.Sessions, ids: list[str], numbers: "itertools.count[int]"
) -> None:
    dice = random.Random(repr(ids))
    while True:
        number = next(numbers)
        key = dice.choice(ids)
        chance = dice.random()
        if chance < 0.05:
            say("try", number, "end", key)
            chat.end(key)
            say("ok", number)
        elif chance < 0.15:
            chat.hibernate(key)
        elif chance < 0.6:
            say("try", number, "put", key)
            with chat.open(key, durable=True) as session:
                change(session, key, number, dice.choice((10, 900, 9000)))
            say("ok", number)
        else:
            say("try", number, "put", key)
            with chat.open(key) as session:
                change(session, key, number, dice.choice((10, 900, 9000)))
                session.save()
                say("ok", number)


def main(directory: str, first: int) -> None:
    began = monotonic()
    guard = memguard.Guard("service", state_dir=directory)
    guard.start()
    chat = guard.sessions("chat", ttl=None, hibernate_after="1s", max_live=16)
    for key in chat.ids():
        with chat.open(key) as session:
            say("has", json.dumps(shown(session, key)))
    say("ready", monotonic() - began, process_time())
    numbers = itertools.count(first + 1)
    for thread in range(THREADS):
        threading.Thread(target=use, args=(chat, IDS[thread::THREADS], numbers)).start()


main(sys.argv[1], int(sys.argv[2]))
