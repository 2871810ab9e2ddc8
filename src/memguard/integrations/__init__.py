"""
Ways into frameworks and servers. Importing one imports nothing of the others.
"""
