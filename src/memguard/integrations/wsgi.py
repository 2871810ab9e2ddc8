"""
Middleware for any WSGI application: a scope around each request and its body.

What it does stands in `_wsgi`, which frameworks' extensions use as well.
"""

from __future__ import annotations

from memguard.integrations._wsgi import Middleware, name_request

__all__ = ("Middleware", "name_request")
