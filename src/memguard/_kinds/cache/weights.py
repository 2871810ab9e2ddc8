"""
What entries weigh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from memguard._kinds.cache.options import Weigher
from memguard._sizing import Estimator, exact_sizeof, sizeof

__all__ = ("Weights",)

_NODES: Final = 2_000  # bound of one exact size


class Weights:
    """
    Weighs keys with their values: by a weigher, by measuring, or by estimate.

    Without a byte cap nothing depends on the weight of one entry, so it is estimated.
    A weigher that fails is told, and then it is measured as if there were none.
    """

    __slots__ = ("_estimator", "_weigher", "capped")

    def __init__(self, weigher: Weigher, *, capped: bool) -> None:
        self._weigher = weigher
        self._estimator = Estimator()
        self.capped = capped

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
        if self.capped:
            return sizeof(key, limit=_NODES) + sizeof(value, limit=_NODES)
        return self._estimator.weigh(key) + self._estimator.weigh(value)


def _checked(weight: Any) -> int:
    if type(weight) is not int or weight < 0:
        msg = f"a weight must be a whole number of bytes, not a {type(weight).__name__}"
        raise TypeError(msg)
    return weight
