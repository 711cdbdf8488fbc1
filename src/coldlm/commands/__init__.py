COMMANDS = ("run", "tune", "report", "recommend", "data", "completion")
"""Each is the ``main`` of a module of this folder."""
