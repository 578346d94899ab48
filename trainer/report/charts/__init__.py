"""Every picture of a report: matplotlib figures as inline SVG in the page's colours."""

from trainer.report.charts.cold_start import cube_chart
from trainer.report.charts.inputs import drift_chart, importance_chart
from trainer.report.charts.results import auc_chart, claim_of, ladder_chart
from trainer.report.charts.svg import standalone
from trainer.report.charts.training import calibration_chart, learning_chart

__all__ = [
    "auc_chart",
    "calibration_chart",
    "claim_of",
    "cube_chart",
    "drift_chart",
    "importance_chart",
    "ladder_chart",
    "learning_chart",
    "standalone",
]
