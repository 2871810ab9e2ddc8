"""
The kinds of leaves. Each sees only nodes, and siblings never import each other.
"""
