"""`pycocotools.coco.COCO` and `pycocotools.cocoeval.COCOeval` by their own names, answered by jaxmap.

Code written for them runs with only its import changed, on the objects of either library, also where it collects
`evalImgs` from many processes and assigns them before `accumulate`. pycocotools itself is not needed. What differs, on
purpose: an annotation whose id is 0 counts (pycocotools reads its match as none), results are copied and not written
to, an empty list of results is scored, `useCats = 0` leaves `params.catIds` as they are and works for keypoints too,
and what cannot be scored, such as a NaN or a mask of another size than its image, is an error that names the entry.

>>> import contextlib, io
>>> with contextlib.redirect_stdout(io.StringIO()):
...     truth = COCO()
...     truth.dataset = {
...         "images": [{"id": 7}],
...         "categories": [{"id": 18, "name": "dog"}],
...         "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 200}],
...     }
...     truth.createIndex()
...     found = truth.loadRes([{"image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 8], "score": 0.9}])
...     run = COCOeval(truth, found, "bbox")
...     run.evaluate()
...     run.accumulate()
...     run.summarize()
>>> run.stats[:3].round(3).tolist()
[0.7, 1.0, 1.0]
"""
# ruff: noqa: N802  (the names are pycocotools')

from __future__ import annotations

import copy
import datetime
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..evaluation import Evaluation, evaluate
from ..host import precision_recall
from ..protocols import COCO as COCO_PROTOCOL
from ..protocols import COCO_KEYPOINTS, AreaRange, EvaluationProtocol
from ..types import PrecisionRecall
from ._axes import Axes
from ._cells import EvalImages, cell_ious, eval_images, read_eval_images, walk_cells
from ._coco_index import COCO, as_list
from ._coco_tables import detection_table, ground_truth_table

__all__ = ["COCO", "COCOeval", "Params"]

PROTOCOLS = {
    "segm": COCO_PROTOCOL.customize(iou_type="segm"),
    "bbox": COCO_PROTOCOL,
    "keypoints": COCO_KEYPOINTS,
}
# The table of results of keypoints: this limit and no other, as in pycocotools.
KEYPOINTS_LIMIT = 20
KEYPOINTS_LINES = ((None, "all"), (0.5, "all"), (0.75, "all"), (None, "medium"), (None, "large"))


class Params:
    """What `COCOeval` evaluates; change any of it before `evaluate`.

    Attributes:
      imgIds, catIds: the images and categories that take part.
      iouThrs, recThrs: `[T]` and `[R]`, the IoU thresholds and the recall points.
      maxDets: limits on the detections of an image and category; `summarize` needs three, or 20 for keypoints.
      areaRng, areaRngLbl: pairs (low, high) of areas, both included, and their names.
      useCats: 0 scores all categories as one.
      iouType: `segm`, `bbox` or `keypoints`.
      useSegm: deprecated, None leaves `iouType` as it is.
      kpt_oks_sigmas: `[P]`, of keypoints alone: how far annotators differ at each.
    """

    def __init__(self, iouType: str = "segm") -> None:
        protocol = _protocol_of(iouType)
        self.imgIds: Any = []
        self.catIds: Any = []
        self.iouThrs = np.array(protocol.iou_thresholds)
        self.recThrs = np.array(protocol.recall_points)
        self.maxDets = list(protocol.max_detections)
        self.areaRng: Any = [[area.low, area.high] for area in protocol.area_ranges]
        self.areaRngLbl = [area.name for area in protocol.area_ranges]
        self.useCats = 1
        self.iouType = iouType
        self.useSegm: int | None = None
        if protocol.iou_type == "keypoints":
            self.kpt_oks_sigmas = np.array(protocol.keypoint_sigmas)


class COCOeval:
    """pycocotools' evaluation of boxes, masks or keypoints: `evaluate`, `accumulate`, `summarize`.

    Attributes:
      cocoGt, cocoDt: the datasets.
      params: what is evaluated.
      eval: after `accumulate`, a dictionary with `params`, `counts` (T, R, K, A, M), `date`, `precision`
        `[T, R, K, A, M]`, `recall` `[T, K, A, M]` and `scores` `[T, R, K, A, M]`; -1 where undefined.
      stats: after `summarize`, the twelve numbers, or ten for keypoints; -1 where undefined.
    """

    def __init__(self, cocoGt: Any = None, cocoDt: Any = None, iouType: str = "segm") -> None:
        self.cocoGt, self.cocoDt = cocoGt, cocoDt
        self.params = Params(iouType)
        self.eval: dict[str, Any] = {}
        self.stats: Any = []
        self._paramsEval: Any = {}
        self._run: _Run | None = None
        self._ious: dict[tuple[Any, Any], Any] | None = None
        self._eval_images: Any = None
        self._assigned = False  # whether `evalImgs` came from outside
        if cocoGt is not None:
            self.params.imgIds = sorted(cocoGt.getImgIds())
            self.params.catIds = sorted(cocoGt.getCatIds())

    def evaluate(self) -> None:
        """Matches every image and category of `params`.

        Raises:
          ValueError: if `params` or an entry of the datasets cannot be scored.
        """
        start = time.time()
        print("Running per image evaluation...")
        params = self.params
        if params.useSegm is not None:
            params.iouType = "segm" if params.useSegm == 1 else "bbox"
            print(f"useSegm (deprecated) is not None. Running {params.iouType} evaluation")
        print(f"Evaluate annotation type *{params.iouType}*")
        params.imgIds = list(np.unique(params.imgIds))
        if params.useCats:
            params.catIds = list(np.unique(params.catIds))
        params.maxDets = sorted(params.maxDets)
        self.eval, self._ious, self._eval_images, self._assigned = {}, None, None, False
        self._run = _Run.of(self.cocoGt, self.cocoDt, params)
        self._paramsEval = copy.deepcopy(params)
        print(f"DONE (t={time.time() - start:0.2f}s).")

    def accumulate(self, p: Params | None = None) -> None:
        """Makes the curves, `eval`.

        Args:
          p: other parameters than `params`; matches are made anew where they ask for it.
        """
        print("Accumulating evaluation results...")
        start = time.time()
        params = self.params if p is None else p
        if self._assigned:
            curves = _curves_of(self._eval_images, params)
        elif self._run is None:
            raise Exception("Please run evaluate() first")
        else:
            same = _grid(params) == _grid(self._paramsEval)
            curves = (self._run if same else _Run.of(self.cocoGt, self.cocoDt, params)).curves()
        self.eval = {
            "params": params,
            "counts": list(curves.precision.shape),
            "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "precision": _undefined_as_minus_one(curves.precision),
            "recall": _undefined_as_minus_one(curves.recall),
            "scores": _undefined_as_minus_one(curves.scores),
        }
        print(f"DONE (t={time.time() - start:0.2f}s).")

    def summarize(self) -> None:
        """Prints the twelve lines, or ten for keypoints, and keeps their numbers as `stats`."""
        if not self.eval:
            raise Exception("Please run accumulate() first")
        if self.params.iouType == "keypoints":
            self.stats = np.array(
                [
                    self._line(quantity, threshold, area, KEYPOINTS_LIMIT)
                    for quantity in ("precision", "recall")
                    for threshold, area in KEYPOINTS_LINES
                ]
            )
            return
        limits = self.params.maxDets
        if len(limits) < 3:
            raise IndexError(f"`summarize` needs three limits in `params.maxDets`, got {list(limits)}.")
        areas = ("small", "medium", "large")
        self.stats = np.array(
            [
                self._line("precision", None, "all", 100),  # this limit and no other, as in pycocotools
                *(self._line("precision", threshold, "all", limits[2]) for threshold in (0.5, 0.75)),
                *(self._line("precision", None, area, limits[2]) for area in areas),
                *(self._line("recall", None, "all", limit) for limit in limits[:3]),
                *(self._line("recall", None, area, limits[2]) for area in areas),
            ]
        )

    @property
    def evalImgs(self) -> Any:
        """A list of one dictionary for each category, area range and image, in this order; None where no box is.

        Each has `image_id`, `category_id`, `aRng`, `maxDet`, `dtIds`, `gtIds`, `dtMatches` `[T, D]` (ids, 0 for none),
        `gtMatches` `[T, G]`, `dtScores`, `gtIgnore` and `dtIgnore` `[T, D]`. Made when first asked for. Assign such a
        list, for example one gathered from several processes, and `accumulate` reads it.
        """
        if self._eval_images is None:
            return defaultdict(list) if self._run is None else self._make_eval_images(self._run)
        return self._eval_images

    @evalImgs.setter
    def evalImgs(self, value: Any) -> None:
        self._eval_images, self._assigned = value, True

    @property
    def ious(self) -> dict[tuple[Any, Any], Any]:
        """`[D, G]` by (image id, category id), detections by descending score; `[]` where either side is empty."""
        if self._ious is None:
            if self._run is None:
                return {}
            matched, class_ids = self._run.evaluation.matched, _class_ids(self._paramsEval)
            self._ious = {(image, category): [] for image in self._paramsEval.imgIds for category in class_ids}
            for cell in walk_cells(matched):
                ious = cell_ious(matched, cell)
                if ious.size:
                    self._ious[self._paramsEval.imgIds[cell.image_index], class_ids[cell.label]] = ious
        return self._ious

    def _make_eval_images(self, run: _Run) -> Any:
        params = self._paramsEval
        names = EvalImages(
            image_ids=params.imgIds,
            class_ids=_class_ids(params),
            area_ranges=params.areaRng,
            limit=params.maxDets[-1],
            thresholds=run.axes.thresholds,
            num_thresholds=len(run.axes.protocol.iou_thresholds),
            detection_ids=[row["id"] for row in run.detections],
            ground_truth_ids=[row["id"] for row in run.ground_truths],
        )
        self._eval_images = eval_images(run.evaluation.matched, names)
        return self._eval_images

    def _line(self, quantity: str, threshold: float | None, area: str, limit: int) -> float:
        """Prints one line and returns its number."""
        params, cells = self.params, self.eval[quantity]
        areas = [index for index, name in enumerate(params.areaRngLbl) if name == area]
        limits = [index for index, value in enumerate(params.maxDets) if value == limit]
        if threshold is None:
            span = f"{params.iouThrs[0]:0.2f}:{params.iouThrs[-1]:0.2f}"
        else:
            span = f"{threshold:0.2f}"
            cells = cells[np.asarray(params.iouThrs) == threshold]
        cells = cells[..., areas, :][..., limits]
        cells = cells[cells > -1]
        number = float(np.mean(cells)) if cells.size else -1.0
        title = "Average Precision  (AP)" if quantity == "precision" else "Average Recall     (AR)"
        print(f" {title} @[ IoU={span:<9} | area={area:>6s} | maxDets={limit:>3d} ] = {number:0.3f}")
        return number


class _Run(NamedTuple):
    """One evaluation over the images and classes of the parameters, and the entries behind its rows."""

    axes: Axes
    evaluation: Evaluation
    detections: list[dict[str, Any]]
    ground_truths: list[dict[str, Any]]

    @classmethod
    def of(cls, coco_gt: Any, coco_dt: Any, params: Any) -> _Run:
        axes = _axes(params)
        images, classes = (
            {value: index for index, value in enumerate(dict.fromkeys(as_list(ids)))}
            for ids in (params.imgIds, params.catIds)
        )
        found, truth = _rows(coco_dt, images, classes), _rows(coco_gt, images, classes)
        tables = (
            detection_table(found, coco_dt.imgs, (images, classes), params.iouType),
            ground_truth_table(truth, coco_gt.imgs, (images, classes), params.iouType),
        )
        return cls(axes, evaluate(*tables, protocol=axes.protocol), found, truth)

    def curves(self) -> PrecisionRecall:
        return self.axes.spread(self.evaluation.curves)


def _curves_of(entries: Any, params: Any) -> PrecisionRecall:
    """Returns the curves of `evalImgs` that came from outside."""
    axes = _axes(params)
    records, order, counts = read_eval_images(
        entries,
        num_classes=len(_class_ids(params)),
        num_areas=len(params.areaRng),
        num_images=len(params.imgIds),
        thresholds=np.unique(axes.thresholds, return_index=True)[1],
    )
    return axes.spread(precision_recall(records, order, counts, axes.protocol))


def _rows(coco: Any, images: Mapping[Any, int], classes: Mapping[Any, int]) -> list[dict[str, Any]]:
    """Returns the annotations that take part, by image; of those that share an id the last one in place of each."""
    if not images:
        return []  # no filter would mean all of them
    rows = coco.loadAnns(coco.getAnnIds(imgIds=list(images)))
    return [row for row in rows if row["category_id"] in classes and row["image_id"] in images]


def _class_ids(params: Any) -> list[Any]:
    """Returns what stands on the class axis."""
    return as_list(params.catIds) if params.useCats else [-1]


def _grid(params: Any) -> tuple[Any, ...]:
    """Returns all that the curves of given similarities depend on, to compare."""
    lists = (params.imgIds, params.catIds, params.iouThrs, params.recThrs, params.maxDets)
    return (*(tuple(as_list(values)) for values in lists), tuple(map(tuple, params.areaRng)), bool(params.useCats))


def _undefined_as_minus_one(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -1.0, values)


def _axes(params: Any) -> Axes:
    return Axes.of(
        params.iouThrs,
        params.recThrs,
        params.maxDets,
        base=_protocol(params),
        area_ranges=[AreaRange(str(index), low, high, "") for index, (low, high) in enumerate(params.areaRng)],
        class_agnostic=not params.useCats,
    )


def _protocol(params: Any) -> EvaluationProtocol:
    """Returns the protocol of what is compared; its grids are not yet those of the parameters."""
    protocol = _protocol_of(params.iouType)
    if protocol.iou_type != "keypoints":
        return protocol
    return protocol.customize(keypoint_sigmas=as_list(params.kpt_oks_sigmas))


def _protocol_of(iou_type: str) -> EvaluationProtocol:
    if iou_type not in PROTOCOLS:
        raise ValueError(f"`iouType` must be one of {list(PROTOCOLS)}, got {iou_type!r}.")
    return PROTOCOLS[iou_type]
