"""What this package adds, declared once. coldlm imports this module and no other until one of its
targets is chosen."""

from coldlm.config.options import Baseline, Metric, Option, Reader, Schedule, Strategy

OPTIONS: tuple[Option, ...] = (
    Strategy("norms", "coldlm_example.strategies.norms", size="layers", needs_layers=True),
    Reader("example", "coldlm_example.reading_room.load"),
    Metric("rbp", "coldlm_example.metrics.rbp"),
    Schedule("every_other_window", "coldlm_example.schedules.every_other_window"),
    Baseline("oldest", "coldlm_example.baselines.oldest"),
)
