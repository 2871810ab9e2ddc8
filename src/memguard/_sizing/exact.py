"""
The reference: pympler's walk, imported when it is first asked for.
"""

from __future__ import annotations

import sys
from typing import Any

from memguard._sizing.plans import ARRAY, plan_of
from memguard._sizing.walk import walked

__all__ = ("exact_sizeof",)


def exact_sizeof(*objects: object) -> int:
    """
    Bytes of *objects* by `pympler.asizeof`: without a bound, and slow.

    Counts what is shared between them once. Runs code of the measured objects, and
    raises what that raises. Arrays are measured as by `sizeof`: pympler adds to each
    view the whole array behind it, and leaves out what an array of objects holds.
    """
    from pympler import asizeof

    sizer: Any = asizeof.Asizer
    measure = sizer()
    arrays = _arrays_in(objects) if "numpy" in sys.modules else []
    total = 0
    if arrays:
        measure.exclude_refs(*arrays)
        measured = {id(one) for one in arrays}
        objects = tuple(one for one in objects if id(one) not in measured)
        walk = walked(arrays, sys.maxsize, {})
        total = walk.total - sys.getsizeof(arrays)
    return total + int(measure.asizeof(*objects) if objects else 0)


def _arrays_in(objects: tuple[object, ...]) -> list[Any]:
    seen = walked(objects, sys.maxsize, {}).seen
    return [one for one in seen.values() if plan_of(type(one)) is ARRAY]
