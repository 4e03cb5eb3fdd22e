"""An evaluation as one self-contained HTML page: numbers, their explanation, plots and a table of classes.

report.write_report(evaluation, "results")  # results/index.html; needs matplotlib, `pip install 'jaxmap[plot]'`
"""

from ._page import report_page, write_report

__all__ = ["report_page", "write_report"]


def __dir__() -> list[str]:
    return list(__all__)
