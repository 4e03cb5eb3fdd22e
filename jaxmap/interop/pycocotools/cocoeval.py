"""`pycocotools.cocoeval`: `COCOeval` and `Params`."""
# ruff: noqa: N802  (the names are pycocotools')

from __future__ import annotations

import copy
import datetime
import itertools
import time
from collections import defaultdict
from typing import Any

import numpy as np

from ...protocols import QUANTITIES
from ...types import Floats
from .._cells import EvalImages, cell_ious, eval_images, walk_cells
from ._params import Params, class_ids, grid
from ._run import Run, cells_of, curves_of
from .coco import ascending

__all__ = ["COCOeval", "Params"]

# The table of results for keypoints: only this limit, as in pycocotools.
KEYPOINTS_LIMIT = 20
KEYPOINTS_LINES = ((None, "all"), (0.5, "all"), (0.75, "all"), (None, "medium"), (None, "large"))


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
        for name, one in (("cocoGt", cocoGt), ("cocoDt", cocoDt)):
            if one is not None and not hasattr(one, "getAnnIds"):
                raise TypeError(
                    f"`{name}` must be a COCO object, got {type(one).__name__}; read files with `COCO(path)` and the "
                    "`loadRes(path)` of that."
                )
        self.cocoGt, self.cocoDt = cocoGt, cocoDt
        self.params = Params(iouType)
        self.eval: dict[str, Any] = {}
        self.stats: Any = []
        self._paramsEval: Any = {}
        self._run: Run | None = None
        self._ious: dict[tuple[Any, Any], Any] | None = None
        self._eval_images: Any = None
        self._entries: dict[tuple[Any, ...], Any] | None = None  # of `evalImgs`, by what they are of
        self._by_cell: dict[str, Any] = {}  # `_gts` and `_dts`, once they are asked for
        self._assigned = False  # whether `evalImgs` were assigned by the user
        if cocoGt is not None:
            self.params.imgIds = ascending("imgIds", cocoGt.getImgIds())
            self.params.catIds = ascending("catIds", cocoGt.getCatIds())

    def evaluate(self) -> None:
        """Matches every image and category of `params`.

        Raises:
          NotImplementedError: if a derived class replaces similarities alone.
          ValueError: if `params` or an entry of the datasets is not valid.
        """
        start = time.time()
        print("Running per image evaluation...")
        params = self.params
        if params.useSegm is not None:
            params.iouType = "segm" if params.useSegm == 1 else "bbox"
            print(f"useSegm (deprecated) is not None. Running {params.iouType} evaluation")
        print(f"Evaluate annotation type *{params.iouType}*")
        params.imgIds = ascending("imgIds", params.imgIds)
        if params.useCats:
            params.catIds = ascending("catIds", params.catIds)
        params.maxDets = sorted(params.maxDets)
        self._prepare()
        if type(self).evaluateImg is COCOeval.evaluateImg:
            self._require_own_similarities()
        else:
            self._evaluate_step_by_step()
        print(f"DONE (t={time.time() - start:0.2f}s).")

    def _evaluate_step_by_step(self) -> None:
        """Calls the inner steps one by one, for classes that replace `evaluateImg`."""
        params = self.params
        similarity = self.computeOks if params.iouType == "keypoints" else self.computeIoU
        categories = class_ids(params)
        self.ious = {pair: similarity(*pair) for pair in itertools.product(params.imgIds, categories)}
        places = itertools.product(categories, params.areaRng, params.imgIds)
        self.evalImgs = [
            self.evaluateImg(image, category, area, params.maxDets[-1]) for category, area, image in places
        ]

    def _require_own_similarities(self) -> None:
        for name in ("computeIoU", "computeOks"):
            if getattr(type(self), name) is not getattr(COCOeval, name):
                raise NotImplementedError(
                    f"{type(self).__name__} replaces `{name}`, which the matching of jaxmap's COCOeval does not call: "
                    "replace all of `evaluateImg` as well, or derive the class from pycocotools' own COCOeval."
                )

    def _prepare(self) -> None:
        """Matches what `params` select; the first inner step of pycocotools, for loops that call the steps."""
        if self.cocoGt is None or self.cocoDt is None:
            raise ValueError("`cocoGt` and `cocoDt` must be set before `evaluate`.")
        self.eval, self._ious, self._eval_images, self._entries, self._assigned = {}, None, None, None, False
        self._run = Run.of(self.cocoGt, self.cocoDt, self.params)
        self._by_cell = {}
        self._paramsEval = copy.deepcopy(self.params)

    def computeIoU(self, imgId: Any, catId: Any) -> Any:
        """Returns IoUs `[D, G]` of an image and a category, `[]` if either side is empty; after `evaluate`."""
        return self.ious[imgId, catId]

    computeOks = computeIoU  # noqa: N815

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> dict[str, Any] | None:
        """Returns the entry of `evalImgs` of an image, a category and an area range, at the largest limit.

        Raises:
          NotImplementedError: if a derived class replaces similarities, which this does not read.
          ValueError: if the parameters have no such image, category, area range or limit.
        """
        self._require_own_similarities()
        params = self._paramsEval
        if self._entries is None and self._run is not None:
            areas = map(tuple, params.areaRng)
            places = itertools.product(class_ids(params), areas, params.imgIds)
            self._entries = dict(zip(places, self.evalImgs, strict=True))
        place = (catId, tuple(aRng), imgId)
        if self._entries is None or place not in self._entries or maxDet != params.maxDets[-1]:
            raise ValueError(
                "`evaluateImg` must be asked for a category, area range and image that `evaluate` was given, at the "
                f"largest limit, got {place} and {maxDet}."
            )
        entry: dict[str, Any] | None = self._entries[place]
        return entry

    def accumulate(self, p: Params | None = None) -> None:
        """Computes the curves, `eval`.

        Args:
          p: parameters in place of `params`; detections are matched again if necessary.
        """
        print("Accumulating evaluation results...")
        start = time.time()
        params = self.params if p is None else p
        if self._assigned:
            curves = curves_of(self._eval_images, params)
        elif self._run is None:
            raise Exception("Please run evaluate() first")
        else:
            same = grid(params) == grid(self._paramsEval)
            curves = (self._run if same else Run.of(self.cocoGt, self.cocoDt, params)).curves()
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
        if len(self.params.areaRngLbl) != len(self.params.areaRng):
            raise IndexError(
                f"`summarize` needs one name in `params.areaRngLbl` for each of {len(self.params.areaRng)} ranges of "
                f"`areaRng`, got {list(self.params.areaRngLbl)}."
            )
        if len(limits) < 3:
            raise IndexError(f"`summarize` needs three limits in `params.maxDets`, got {list(limits)}.")
        areas = ("small", "medium", "large")
        self.stats = np.array(
            [
                self._line("precision", None, "all", 100),  # only this limit, as in pycocotools
                *(self._line("precision", threshold, "all", limits[2]) for threshold in (0.5, 0.75)),
                *(self._line("precision", None, area, limits[2]) for area in areas),
                *(self._line("recall", None, "all", limit) for limit in limits[:3]),
                *(self._line("recall", None, area, limits[2]) for area in areas),
            ]
        )

    @property
    def evalImgs(self) -> Any:
        """A list of one dictionary per category, area range and image, in this order; None for those without boxes.

        Each has `image_id`, `category_id`, `aRng`, `maxDet`, `dtIds`, `gtIds`, `dtMatches` `[T, D]` (ids, 0 for none),
        `gtMatches` `[T, G]`, `dtScores`, `gtIgnore` and `dtIgnore` `[T, D]`. Computed at its first use. If you assign
        such a list, for example one gathered from several processes, `accumulate` uses it.
        """
        if self._eval_images is None:
            return defaultdict(list) if self._run is None else self._make_eval_images(self._run)
        return self._eval_images

    @evalImgs.setter
    def evalImgs(self, value: Any) -> None:
        self._eval_images, self._assigned = value, True

    @property
    def ious(self) -> dict[tuple[Any, Any], Any]:
        """IoUs `[D, G]` by (image id, category id), detections by descending score; `[]` if either side is empty."""
        if self._ious is None:
            if self._run is None:
                return {}
            matched, categories = self._run.evaluation.require_matched("ious"), class_ids(self._paramsEval)
            self._ious = {(image, category): [] for image in self._paramsEval.imgIds for category in categories}
            for cell in walk_cells(matched):
                ious = cell_ious(matched, cell)
                if ious.size:
                    self._ious[self._paramsEval.imgIds[cell.image_index], categories[cell.label]] = ious
        return self._ious

    @ious.setter
    def ious(self, value: dict[tuple[Any, Any], Any]) -> None:
        self._ious = value

    @property
    def _gts(self) -> Any:
        """Copies of the included annotations by (image id, category id), with `ignore`; made at the first use."""
        return self._cells("_gts")

    @property
    def _dts(self) -> Any:
        """Copies of the included results by (image id, category id); made at the first use."""
        return self._cells("_dts")

    def _cells(self, name: str) -> Any:
        if self._run is None:
            return defaultdict(list)
        if name not in self._by_cell:
            run, truth = self._run, name == "_gts"
            rows, coco = (run.ground_truths, self.cocoGt) if truth else (run.detections, self.cocoDt)
            self._by_cell[name] = cells_of(rows, coco, self._paramsEval.iouType)
        return self._by_cell[name]

    def _make_eval_images(self, run: Run) -> Any:
        params = self._paramsEval
        names = EvalImages(
            image_ids=params.imgIds,
            class_ids=class_ids(params),
            area_ranges=params.areaRng,
            limit=params.maxDets[-1],
            thresholds=run.axes.thresholds,
            num_thresholds=len(run.axes.protocol.iou_thresholds),
            detection_ids=[row["id"] for row in run.detections],
            ground_truth_ids=[row["id"] for row in run.ground_truths],
        )
        self._eval_images = eval_images(run.evaluation.require_matched("evalImgs"), names)
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
        where = f"IoU={span:<9} | area={area:>6s} | maxDets={limit:>3d}"
        print(f" {QUANTITIES[quantity].heading} @[ {where} ] = {number:0.3f}")
        return number


def _undefined_as_minus_one(values: Floats) -> Floats:
    return np.where(np.isnan(values), -1.0, values)
