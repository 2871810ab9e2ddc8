"""
Caches, and functions with a cache.
"""

from memguard._kinds.cache.cache import Cache
from memguard._kinds.cache.figures import CacheInfo
from memguard._kinds.cache.function import CachedFunction, make_cached

__all__ = ("Cache", "CacheInfo", "CachedFunction", "make_cached")
