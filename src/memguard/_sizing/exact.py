"""
The reference: pympler's walk, imported when it is first asked for.
"""

from __future__ import annotations

from typing import Any

__all__ = ("exact_sizeof",)


def exact_sizeof(*objects: object) -> int:
    """
    Bytes of *objects* by `pympler.asizeof`: without a bound, and slow.

    Counts what is shared between them once. Runs code of the measured objects, and
    raises what that raises.
    """
    from pympler import asizeof

    measure: Any = asizeof.asizeof
    return int(measure(*objects))
