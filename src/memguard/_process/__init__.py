"""
What memguard does to the process itself: signals, exit. Only when asked, all undone.
"""
