"""
From a gauge to a named culprit: what memory is used for, and by whom.
"""
