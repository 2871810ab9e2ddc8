"""
How many bytes Python objects hold: a bounded walk, and a cheap estimate of it.
"""

from memguard._sizing.estimate import Estimator
from memguard._sizing.exact import exact_sizeof
from memguard._sizing.walk import sizeof

__all__ = ("Estimator", "exact_sizeof", "sizeof")
