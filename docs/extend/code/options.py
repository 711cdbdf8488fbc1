"""What a package declares: its options, and what others must know of them."""

from coldlm.config.kinds import Baseline, DataPolicy, Head, Loss, Metric, Reader, Strategy, Trigger
from coldlm.config.schedules import Schedule

OPTIONS = (
    Strategy("norms", "mypackage.strategy.norms"),
    Head("weighted", "mypackage.head.Weighted"),
    Loss("margin", "mypackage.loss.Margin"),
    Reader("songs", "mypackage.reader.load"),
    Trigger("at_night", "mypackage.schedule.AtNight"),
    DataPolicy("few_of_each", "mypackage.schedule.FewOfEach"),
    Schedule("nightly", trigger="at_night", data="few_of_each"),
    Metric("rbp", "mypackage.metric.rbp"),
    Baseline("last_week", "mypackage.baseline.last_week"),
)
