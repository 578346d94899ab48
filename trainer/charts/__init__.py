"""Every picture of a report: matplotlib figures as inline SVG in the page's colours."""

from trainer.charts.cold_start import cube_chart
from trainer.charts.inputs import drift_chart, importance_chart
from trainer.charts.results import auc_chart, ladder_chart
from trainer.charts.svg import standalone
from trainer.charts.training import calibration_chart, learning_chart

__all__ = [
    "auc_chart", "calibration_chart", "cube_chart", "drift_chart", "importance_chart", "ladder_chart",
    "learning_chart", "standalone",
]  # fmt: skip
