"""
Writes numbered records to a sink until it is killed.
"""

import itertools
import sys
import threading

import memguard


def write(sink: memguard.Sink, thread: int) -> None:
    for number in itertools.count():
        pad = "ä" * (number % 97 * (40 if number % 11 == 0 else 1))
        sink.write({"run": sys.argv[2], "thread": thread, "n": number, "pad": pad})


def main() -> None:
    guard = memguard.Guard().start()
    sink = guard.sink(sys.argv[1], rotate_bytes="2MiB", keep=4, flush_every=0.02)
    for thread in range(2):
        threading.Thread(target=write, args=(sink, thread), daemon=True).start()
    print("writes", flush=True)
    threading.Event().wait()


main()
