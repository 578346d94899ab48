"""Every picture of a report, as a Vega-Lite spec in the page's colours."""

from trainer.report.charts.cold_start import cube_chart
from trainer.report.charts.inputs import drift_chart, importance_chart, skew_chart
from trainer.report.charts.results import auc_chart, beside, claim_of, difference_chart, ladder_charts
from trainer.report.charts.script import bundle
from trainer.report.charts.training import calibration_chart, learning_chart
from trainer.report.charts.vega import Chart, standalone

__all__ = [
    "Chart",
    "auc_chart",
    "beside",
    "bundle",
    "calibration_chart",
    "claim_of",
    "cube_chart",
    "difference_chart",
    "drift_chart",
    "importance_chart",
    "ladder_charts",
    "learning_chart",
    "skew_chart",
    "standalone",
]
