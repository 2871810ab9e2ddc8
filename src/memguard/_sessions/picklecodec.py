"""
The content of sessions as pickles: only where it is asked for by name.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ("PickleCodec",)


class PickleCodec:
    """
    Any value that can be pickled. **Whoever can write to the store can run code here.**

    Reading a pickle calls what it names. So a store of pickles has to be as well
    guarded as the program itself: no Redis that others use, no directory that others
    may write to. The checksum of a record is no signature.
    """

    __slots__ = ()

    def dumps(self, content: Any) -> bytes:
        """
        A pickle of protocol 5.
        """
        return pickle.dumps(content, 5)

    def loads(self, raw: bytes) -> Any:
        """
        What was pickled; its classes are imported.
        """
        return pickle.loads(raw)  # noqa: S301 - asked for by name
