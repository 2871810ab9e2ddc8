"""
Restores what is in a store of sessions, says what it was, and writes until it is
killed.

Lines on its output: `has <json>` for each session, `ready <s> <s>` with what restoring
took and what the process has used of a processor, then `try <number> <json>` before and
`ok <number>` after each operation. What is written carries the number, so that
everything torn or mixed shows.
"""

import json
import os
import random
import sys
from hashlib import sha256
from time import monotonic, process_time

from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Claim, Entry
from memguard._sessions.stores.sqlite import SqliteStore

IDS = [f"session {number}" for number in range(40)]
PAGES = 4


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def sealed(content: object) -> bytes:
    raw = json.dumps(content).encode()
    return sha256(raw).digest() + raw


def opened(record: bytes) -> object:
    if sha256(record[32:]).digest() != record[:32]:
        return "torn"
    return json.loads(record[32:])


def main(path: str, first: int) -> None:
    began = monotonic()
    dice = random.Random(first)
    # Its lease outlives all rounds: who comes next must not wait for it.
    store = SqliteStore(path, lease="1h")
    space = store.space("chat", SystemClock())
    owner = f"{identity()}:{first}"
    space.join(owner, store.lease_s)
    known: dict[str, dict[str, int]] = {}
    for key in space.ids():
        claim = space.claim(key, owner)
        if not isinstance(claim, Claim) or claim.record is None:
            say("has", json.dumps({"id": key, "problem": type(claim).__name__}))
            continue
        content = opened(claim.record)
        pages = space.pages(key, "history", range(PAGES))
        found = {str(number): opened(page) for number, page in pages.items()}
        say(
            "has",
            json.dumps(
                {
                    "id": key,
                    "version": claim.version,
                    "content": content,
                    "pages": found,
                }
            ),
        )
        known[key] = content["pages"]  # type: ignore[index]
    say("ready", monotonic() - began, process_time())

    number = first
    while True:
        number += 1
        chosen = dice.sample(IDS, dice.choice((1, 1, 1, 1, 5, 20)))
        if len(chosen) == 1 and dice.random() < 0.1:
            (key,) = chosen
            space.claim(key, owner)
            say("try", number, json.dumps({"delete": chosen}))
            assert space.delete(key, owner)
            known.pop(key, None)
            say("ok", number)
            continue
        entries = []
        for key in chosen:
            space.claim(key, owner)
            page = dice.randrange(PAGES)
            pages = known.setdefault(key, {})
            pages[str(page)] = number
            content = {
                "id": key,
                "number": number,
                "pages": dict(pages),
                "pad": "x" * dice.choice((10, 1000, 6000)),
            }
            changed = {("history", page): sealed([key, number])}
            release = dice.random() < 0.5
            entries.append(Entry(key, number, None, sealed(content), changed, release))
        say("try", number, json.dumps({"put": chosen}))
        assert all(space.put(owner, entries))
        say("ok", number)


main(sys.argv[1], int(sys.argv[2]))
