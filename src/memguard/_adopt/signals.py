"""
Signals of blinker: how many receivers there are, and what ends them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final
from weakref import ReferenceType

from memguard._adopt.alike import most_alike
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# As many receivers of one function are no coincidence.
_MANY: Final = 10


class Signal(Adapter):
    """
    A signal of blinker: its receivers, how many of them are strong, how many are the
    same function, and its senders. Closing it disconnects them.
    """

    kind = "signal"
    phase = "emitters"
    module = "blinker"
    cannot = (
        "who drops a receiver takes a notification away from somebody; connect with"
        " weak=True, or listen to a memguard.emitter, which has max_listeners"
    )
    must_close = False
    inherited = True

    def types(self) -> Iterable[type]:
        blinker: Any = sys.modules.get("blinker")
        return () if blinker is None else (blinker.Signal,)

    def label(self, obj: Any) -> str:
        return str(getattr(obj, "name", None) or type(obj).__qualname__)

    def measure(self, obj: Any) -> Measured:
        held = list(obj.receivers.values())
        strong = sum(1 for one in held if not isinstance(one, ReferenceType))
        return Measured(
            entries=len(held),
            details={
                "strong": strong,
                "senders": len(obj._by_sender),
                "most_of_one_function": most_alike(_alive(held)),
            },
        )

    def close(self, obj: Any) -> None:
        for receiver in _alive(list(obj.receivers.values())):
            obj.disconnect(receiver)

    def risk(self, obj: Any) -> Risk | None:
        alike = most_alike(_alive(list(obj.receivers.values())))
        if alike <= _MANY:
            return None
        return Risk(
            "receivers",
            f"{alike} receivers are the same function, connected again and again",
            "disconnect with the owner, or connect with weak=True",
        )


def _alive(held: list[Any]) -> list[Any]:
    """
    The receivers themselves, without the dead.
    """
    found = [one() if isinstance(one, ReferenceType) else one for one in held]
    return [one for one in found if one is not None]


ADAPTERS = (Signal(),)
