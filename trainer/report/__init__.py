"""One HTML file from finished runs: opens offline, light and dark, asks nothing of the network."""

from trainer.report.page import write_report

__all__ = ["write_report"]
