"""What this package adds, declared once. coldlm imports this module and no other until one of its
targets is chosen."""

from coldlm.config.kinds import Baseline, Metric, Option, Reader, Strategy, Trigger
from coldlm.config.schedules import Schedule

OPTIONS: tuple[Option | Schedule, ...] = (
    Strategy("norms", "coldlm_example.strategies.norms", size="layers", needs_layers=True),
    Reader("example", "coldlm_example.reading_room.load"),
    Metric("rbp", "coldlm_example.metrics.rbp"),
    Trigger("every_other_window", "coldlm_example.triggers.EveryOtherWindow"),
    Baseline("oldest", "coldlm_example.baselines.oldest"),
    # what tables call a schedule with this trigger and otherwise the usual parts
    Schedule("every_other", trigger="every_other_window"),
)
