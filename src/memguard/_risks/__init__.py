"""
What may grow without bound: everything registered, and what modules hold by themselves.
"""

from memguard._risks.growth import Looks
from memguard._risks.report import RiskReport, RiskRow
from memguard._risks.survey import first_look, look, risks_of

__all__ = ("Looks", "RiskReport", "RiskRow", "first_look", "look", "risks_of")
