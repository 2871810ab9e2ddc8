"""A module that remembers too much."""

SEEN: dict[str, int] = {}
