COMMANDS = (
    "run",
    "sweep",
    "tune",
    "report",
    "recommend",
    "update",
    "serve",
    "export",
    "evaluate",
    "data",
    "completion",
)
"""Each is the ``main`` of a module of this folder."""
