"""
A request handler that forgets what it started.
"""

uploads = []


def handle_one_request():
    uploads.append(open("upload.part", "wb"))
