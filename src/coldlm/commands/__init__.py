COMMANDS = (
    "run",
    "sweep",
    "tune",
    "report",
    "recommend",
    "update",
    "serve",
    "push",
    "export",
    "evaluate",
    "data",
    "completion",
)
"""Each is the ``main`` of a module of this folder."""
