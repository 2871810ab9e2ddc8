"""
The only code that reads /proc and /sys or calls libc. Each number tells its source.
"""
