"""An evaluation, or a comparison of several, as one self-contained HTML page of numbers, explanations and plots.

report.write_report(evaluation, "results")  # results/index.html; needs matplotlib, `pip install 'jaxmap[plot]'`
report.write_comparison(comparison, "results")
"""

from ._page import comparison_page, report_page, write_comparison, write_report

__all__ = ["comparison_page", "report_page", "write_comparison", "write_report"]


def __dir__() -> list[str]:
    return list(__all__)
