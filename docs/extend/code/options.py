"""What a package declares: its options, and what others must know of them."""

from coldlm.config.options import Baseline, Head, Loss, Metric, Reader, Schedule, Strategy

OPTIONS = (
    Strategy("norms", "mypackage.strategy.norms"),
    Head("weighted", "mypackage.head.Weighted"),
    Loss("margin", "mypackage.loss.Margin"),
    Reader("songs", "mypackage.reader.load"),
    Schedule("third_anew", "mypackage.schedule.third_anew"),
    Metric("rbp", "mypackage.metric.rbp"),
    Baseline("last_week", "mypackage.baseline.last_week"),
)
