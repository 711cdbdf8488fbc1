COMMANDS = (
    "run",
    "sweep",
    "tune",
    "report",
    "recommend",
    "push",
    "export",
    "evaluate",
    "data",
    "completion",
)
"""Each is the ``main`` of a module of this folder."""
