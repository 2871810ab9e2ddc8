"""
gunicorn's hooks for the planted programs.
"""

from memguard.integrations.gunicorn import *  # noqa: F403

workers = 1
