"""An index that grows, and what is said about it."""

import memguard

before = memguard.footprint()
index = [{"key": [number]} for number in range(100_000)]
verdict = memguard.footprint(before).verdict

print(verdict)
print("explained:", verdict.explained_ratio > 0.95)
