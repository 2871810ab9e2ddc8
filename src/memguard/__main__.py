"""
`python -m memguard`: the same as the command `memguard`.
"""

from __future__ import annotations

import sys

from memguard._cli import main

if __name__ == "__main__":
    sys.exit(main())
