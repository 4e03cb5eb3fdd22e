"""The host route in NumPy and float64: inputs, ordering, candidates and curves of whole datasets, equal to pycocotools.

The device stages of the same names decide the same rules for arrays inside `jit`; tests hold both to the same outputs.
"""

from ._candidates import Groups, Pairs, box_iou_pairs, find_pairs
from ._curves import first_to_reach, precision_recall
from ._inputs import as_tables, to_xywh
from ._ordering import order_within, rank_in_group, score_places, starts_of_runs

__all__ = [
    "Groups",
    "Pairs",
    "as_tables",
    "box_iou_pairs",
    "find_pairs",
    "first_to_reach",
    "order_within",
    "precision_recall",
    "rank_in_group",
    "score_places",
    "starts_of_runs",
    "to_xywh",
]
