"""What `evaluate` and the state of a metric return."""

from __future__ import annotations

from .._matching._host import MatchedDataset
from .._records._host import DatasetRecords
from ..protocols import EvaluationProtocol
from ._certainty import Certainty
from ._numbers import curves_of

__all__ = ["Evaluation", "evaluation_of"]


class Evaluation(Certainty):
    """The numbers of one evaluation and the matches behind them; undefined numbers are NaN.

    Attributes:
      protocol: the protocol as applied, with its grids: `iou_thresholds`, `recall_points`, `area_ranges`,
        `max_detections`.
      summary_curves: precision and recall over them, of which precision is that of the summary only; it is 0 at the
        other area ranges and limits, and so are all scores. Ask `curves`, `precision` or `scores` for all.
      dataset: the records of all images, from which the numbers are computed.
      matched: which detection matched which ground truth; None if the records came from the state of a metric, which
        keeps no boxes. Then `matches`, `confusion_matrix`, `localisation_recall_precision`, `error_types` and `cgf1`
        raise, and ties that could change matches are not counted.
    """


def evaluation_of(
    dataset: DatasetRecords, protocol: EvaluationProtocol, *, matched: MatchedDataset | None = None
) -> Evaluation:
    """Integrates the records of a dataset; without the matches behind them, methods that need boxes raise."""
    curves = curves_of(dataset, protocol, of_summary=True)
    return Evaluation(protocol=protocol, summary_curves=curves, dataset=dataset, matched=matched)
