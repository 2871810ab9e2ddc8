"""
The footprint of a process: everything it takes from the system, at one moment.
"""

from __future__ import annotations

from memguard._footprint.record import Capability, Footprint, Rates
from memguard._footprint.taking import footprint_of, footprint_of_process

__all__ = (
    "Capability",
    "Footprint",
    "Rates",
    "footprint_of",
    "footprint_of_process",
)
