"""
Adopting what other libraries made: owner, measurement, and a cap where that is safe.

One file a foreign library, loaded when one of its objects is adopted; the library
itself is never imported.
"""

from memguard._adopt.adopted import Adopted, AdoptedInfo
from memguard._adopt.adopting import adopt
from memguard._adopt.place import Place

__all__ = ("Adopted", "AdoptedInfo", "Place", "adopt")
