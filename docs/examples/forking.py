"""
A child closes nothing of its parent's, and has a guard of its own.
"""

import os

import memguard


class Connection:
    def close(self):
        print(f"closed by the {who}", flush=True)


@memguard.timer(every="1h", name="sweep")
def sweep(): ...


who = "parent"
with memguard.install() as guard:
    connection = memguard.register(Connection())
    pid = os.fork()
    if pid == 0:
        who = "child"
        snapshot = memguard.snapshot()
        print("child:", [node.name for node in snapshot.nodes], flush=True)
        report = memguard.shutdown()
        print("child:", "clean" if report.clean else report, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print("parent:", [node.name for node in memguard.snapshot().nodes], flush=True)
