"""The host route in NumPy and float64: inputs, ordering, candidates and curves of whole datasets, equal to pycocotools.

The device stages of the same names decide the same rules for arrays inside `jit`; tests hold both to the same outputs.
"""

from ._candidates import Groups, Pairs, find_pairs
from ._components import components
from ._curves import first_to_reach, precision_recall
from ._envelope import best_onwards
from ._foreign import to_numpy
from ._inputs import as_tables, check_class_groups, merge_classes, to_xywh
from ._misread import warn_of_misread
from ._ordering import inverse, order_by_score, order_within, rank_in_group, starts_of_runs, take_rows
from ._pairing import PAIRINGS, check_confusion_options, count_confusion, normalize_confusion
from ._segments import SegmentCounts, class_groups, count_segments
from ._similarity import PairSimilarity, box_iou_pairs, pair_similarity
from ._threads import in_threads

__all__ = [
    "PAIRINGS",
    "Groups",
    "PairSimilarity",
    "Pairs",
    "SegmentCounts",
    "as_tables",
    "best_onwards",
    "box_iou_pairs",
    "check_class_groups",
    "check_confusion_options",
    "class_groups",
    "components",
    "count_confusion",
    "count_segments",
    "find_pairs",
    "first_to_reach",
    "in_threads",
    "inverse",
    "merge_classes",
    "normalize_confusion",
    "order_by_score",
    "order_within",
    "pair_similarity",
    "precision_recall",
    "rank_in_group",
    "starts_of_runs",
    "take_rows",
    "to_numpy",
    "to_xywh",
    "warn_of_misread",
]
