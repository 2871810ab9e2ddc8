"""
What entries weigh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memguard._kinds.cache.options import Weigher
from memguard._sizing import Estimator, exact_sizeof

__all__ = ("Weights",)


class Weights:
    """
    Weighs keys with their values: by a weigher, or by estimate.

    A weigher that fails is told, and then it is estimated as if there were none.
    """

    __slots__ = ("_weigh", "_weigher")

    def __init__(self, weigher: Weigher) -> None:
        self._weigher = weigher
        self._weigh = Estimator().weigh

    def of(
        self, key: Any, value: Any, failed: Callable[[str, BaseException], None]
    ) -> int:
        """
        The weight of one entry. Calls user code, so no lock may be held.
        """
        weigher = self._weigher
        if weigher is not None:
            try:
                if weigher == "exact":
                    return exact_sizeof(key, value)
                return _checked(weigher(key, value))
            except Exception as error:
                failed("weigher", error)
        # Most keys and many values are texts, whose own word costs next to nothing.
        kind = type(value)
        if kind is str or kind is bytes:
            size: int = value.__sizeof__()
        else:
            size = self._weigh(value)
        if type(key) is str:
            return size + key.__sizeof__()
        return size + self._weigh(key)


def _checked(weight: Any) -> int:
    if type(weight) is not int or weight < 0:
        msg = f"a weight must be a whole number of bytes, not a {type(weight).__name__}"
        raise TypeError(msg)
    return weight
