"""
A default guard of their own for tests that use the module-level functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memguard import _default

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fresh_default() -> Iterator[None]:
    """
    No default guard before, and none after.
    """
    _default.reset_default()
    yield
    _default.reset_default()
