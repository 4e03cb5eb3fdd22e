"""pycocotools as the oracle: one call that runs it in silence, and the comparisons of an evaluation with its answer.

An undefined number is -1 in pycocotools and NaN in jaxmap; the comparisons translate.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ATOL = 1e-12  # both sides work in float64: a ratio of the same integers may differ in its last digits, no more

AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 1024.0), "medium": (1024.0, 9216.0), "large": (9216.0, 1e10)}
KEYPOINTS_AREA_RANGES = {name: bounds for name, bounds in AREA_RANGES.items() if name != "small"}


@dataclasses.dataclass(frozen=True)
class Oracle:
    """What pycocotools says of one pair of ground truths and results.

    Attributes:
      precision: `[T, R, K, A, M]`, -1 where undefined, with `scores` and `recall` `[T, K, A, M]`.
      stats: AP, AP50, AP75, AP of each further area range, AR at each limit, AR of each further area range; of
        keypoints AR, AR50 and AR75 at the largest limit in place of AR at each.
      eval_images: pycocotools' `evalImgs`, without its empty entries.
      matches: one row for each detection that takes part, ordered by detection: `image_id`, `class_id`, `detection`
        (position in the results), `score`, and `ground_truth` (-1 unmatched), `iou`, `ignored` as `[A, T, N]`.
      image_ids, class_ids, iou_thresholds, recall_points, area_ranges, max_detections: what the axes stand for.
      class_agnostic: whether all classes were scored as one.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    stats: np.ndarray
    eval_images: list[dict[str, Any]]
    matches: dict[str, np.ndarray]
    image_ids: list[int]
    class_ids: list[int]
    iou_thresholds: np.ndarray
    recall_points: np.ndarray
    area_ranges: dict[str, tuple[float, float]]
    max_detections: list[int]
    class_agnostic: bool


def run_pycocotools(
    ground_truths: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    iou_thresholds: Sequence[float] | None = None,
    recall_points: Sequence[float] | None = None,
    area_ranges: Mapping[str, tuple[float, float]] | Sequence[tuple[float, float]] | None = None,
    max_detections: int | Sequence[int] | None = None,
    class_agnostic: bool = False,
    iou_type: str = "bbox",
) -> Oracle:
    """Evaluates COCO results; the options are `jaxmap.evaluate`'s, and the inputs stay as they are."""
    if any(annotation["id"] == 0 for annotation in ground_truths["annotations"]):
        raise ValueError("pycocotools reads annotation id 0 as unmatched: ids must start at 1.")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _coco({**ground_truths, "annotations": [dict(row) for row in ground_truths["annotations"]]})
        if results:
            found = truth.loadRes([dict(row) for row in results])
        else:  # loadRes looks at the first result
            found = _coco({**ground_truths, "annotations": []})
        run = COCOeval(truth, found, iou_type)
        ranges = _named_ranges(area_ranges, KEYPOINTS_AREA_RANGES if iou_type == "keypoints" else AREA_RANGES)
        run.params.areaRng = [list(bounds) for bounds in ranges.values()]
        run.params.areaRngLbl = list(ranges)
        run.params.useCats = int(not class_agnostic)
        if iou_thresholds is not None:
            run.params.iouThrs = np.asarray(iou_thresholds, np.float64)
        if recall_points is not None:
            run.params.recThrs = np.asarray(recall_points, np.float64)
        if max_detections is not None:
            run.params.maxDets = [max_detections] if isinstance(max_detections, int) else list(max_detections)
        class_ids = [int(class_id) for class_id in run.params.catIds]
        run.evaluate()
        matches = _matches(run)
        run.accumulate()
    return Oracle(
        precision=run.eval["precision"],
        recall=run.eval["recall"],
        scores=run.eval["scores"],
        stats=_stats(run.eval["precision"], run.eval["recall"], run.params.iouThrs, iou_type),
        eval_images=[entry for entry in run.evalImgs if entry is not None],
        matches=matches,
        image_ids=[int(image_id) for image_id in run.params.imgIds],
        class_ids=class_ids,
        iou_thresholds=run.params.iouThrs,
        recall_points=run.params.recThrs,
        area_ranges=ranges,
        max_detections=list(run.params.maxDets),
        class_agnostic=class_agnostic,
    )


def undefined_as_nan(values: np.ndarray, decide_by: np.ndarray) -> np.ndarray:
    """Returns the values with NaN where pycocotools left its -1; a score of -1 is a score, so precision decides."""
    return np.where(decide_by == -1, np.nan, values)


def assert_same_cells(evaluation: Any, oracle: Oracle, atol: float = ATOL) -> None:
    """Asserts that every cell of precision, recall and scores, and every summary number, equals the oracle's."""
    for name in ("precision", "recall", "scores"):
        ours = np.asarray(getattr(evaluation, name))
        decide_by = oracle.recall if name == "recall" else oracle.precision
        theirs = undefined_as_nan(getattr(oracle, name), decide_by)
        assert ours.shape == theirs.shape, f"{name} has shape {ours.shape}, pycocotools' has {theirs.shape}"
        wrong = _differ(ours, theirs, atol)
        if wrong.any():
            cell = tuple(int(index) for index in np.argwhere(wrong)[0])
            raise AssertionError(
                f"{name}{list(cell)} ({_cell_name(oracle, cell)}) is {ours[cell]}, pycocotools says {theirs[cell]};"
                f" {np.count_nonzero(wrong)} of {wrong.size} cells differ"
            )
    names, ours = list(evaluation.summary), np.array(list(evaluation.summary.values()), np.float64)
    theirs = np.where(oracle.stats == -1, np.nan, oracle.stats)
    assert ours.shape == theirs.shape, f"the summary has {names}, pycocotools has {len(theirs)} numbers"
    wrong = _differ(ours, theirs, atol)
    assert not wrong.any(), [(names[i], ours[i], theirs[i]) for i in np.flatnonzero(wrong)]


def assert_same_matches(evaluation: Any, oracle: Oracle, atol: float = ATOL) -> None:
    """Asserts that under every area range and threshold each detection has the oracle's ground truth, flag and IoU."""
    theirs = oracle.matches
    for a, area in enumerate(oracle.area_ranges):
        for t, threshold in enumerate(oracle.iou_thresholds):
            columns = evaluation.matches(iou_threshold=float(threshold), area=area)
            order = np.argsort(columns["detection"], kind="stable")
            ours = {name: np.asarray(column)[order] for name, column in columns.items()}
            where = f"at IoU {threshold:.4g} and area range {area!r}"
            assert np.array_equal(ours["detection"], theirs["detection"]), (
                f"{len(ours['detection'])} detections take part, {len(theirs['detection'])} in pycocotools; the first"
                f" on one side only is {np.setxor1d(ours['detection'], theirs['detection'])[:1]}"
            )
            expected = {
                "image_id": theirs["image_id"],
                "score": theirs["score"],
                "ground_truth": theirs["ground_truth"][a, t],
                "matched": theirs["ground_truth"][a, t] != -1,
                "ignored": theirs["ignored"][a, t],
                "iou": theirs["iou"][a, t],
            }
            if not oracle.class_agnostic:
                expected["class_id"] = theirs["class_id"]
            for name, column in expected.items():
                wrong = _differ(ours[name], column, atol) if name == "iou" else ours[name] != column
                if wrong.any():
                    i = int(np.flatnonzero(wrong)[0])
                    raise AssertionError(
                        f"`{name}` of detection {theirs['detection'][i]} (image {theirs['image_id'][i]}, class"
                        f" {theirs['class_id'][i]}) {where} is {ours[name][i]}, pycocotools says {column[i]};"
                        f" {np.count_nonzero(wrong)} of {len(wrong)} rows differ"
                    )


def _differ(ours: np.ndarray, theirs: np.ndarray, atol: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return (np.isnan(ours) != np.isnan(theirs)) | (np.abs(ours - theirs) > atol)


def _cell_name(oracle: Oracle, cell: tuple[int, ...]) -> str:
    t, *recall_index, k, a, m = cell
    words = [f"IoU {oracle.iou_thresholds[t]:.4g}"]
    words += [f"recall {oracle.recall_points[r]:.4g}" for r in recall_index]
    words += ["all classes" if oracle.class_agnostic else f"class {oracle.class_ids[k]}"]
    words += [f"area range {list(oracle.area_ranges)[a]!r}", f"{oracle.max_detections[m]} detections"]
    return ", ".join(words)


def _coco(dataset: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _named_ranges(
    ranges: Mapping[str, tuple[float, float]] | Sequence[tuple[float, float]] | None,
    default: dict[str, tuple[float, float]],
) -> dict[str, tuple[float, float]]:
    if ranges is None:
        return dict(default)
    if isinstance(ranges, Mapping):
        named = dict(ranges)
    else:
        named = {"all" if i == 0 else f"range{i}": bounds for i, bounds in enumerate(ranges)}
    return {"all": named.get("all", AREA_RANGES["all"])} | named


def _stats(precision: np.ndarray, recall: np.ndarray, iou_thresholds: np.ndarray, iou_type: str) -> np.ndarray:
    def mean(values: np.ndarray) -> float:
        defined = values[values > -1]
        return float(np.mean(defined)) if defined.size else -1.0

    num_areas, num_limits = recall.shape[2:]
    stats = [mean(precision[..., 0, -1])]
    # pycocotools asks for equality, and prints -1 where linspace gives 0.49999999999999994; jaxmap means the threshold.
    near = [np.abs(iou_thresholds - threshold) < 1e-9 for threshold in (0.5, 0.75)]
    stats += [mean(precision[thresholds][..., 0, -1]) for thresholds in near]
    stats += [mean(precision[..., area, -1]) for area in range(1, num_areas)]
    if iou_type == "keypoints":
        stats += [mean(recall[..., 0, -1])]
        stats += [mean(recall[thresholds][..., 0, -1]) for thresholds in near]
    else:
        stats += [mean(recall[..., 0, limit]) for limit in range(num_limits)]
    stats += [mean(recall[..., area, -1]) for area in range(1, num_areas)]
    return np.array(stats)


def _matches(run: COCOeval) -> dict[str, np.ndarray]:
    num_areas, num_thresholds = len(run.params.areaRng), len(run.params.iouThrs)
    num_images = len(run.params.imgIds)
    # evalImgs is flat, in the order class, area, image; an empty image and class has no entry under any area.
    index = np.arange(len(run.evalImgs)).reshape(-1, num_areas, num_images)
    columns: dict[str, list[np.ndarray]] = {"image_id": [], "class_id": [], "detection": [], "score": []}
    ground_truth: list[np.ndarray] = []
    iou: list[np.ndarray] = []
    ignored: list[np.ndarray] = []
    for block in index.transpose(0, 2, 1).reshape(-1, num_areas):
        entries = [run.evalImgs[i] for i in block]
        if entries[0] is None or not entries[0]["dtIds"]:
            continue
        image_id, class_id, ids = entries[0]["image_id"], entries[0]["category_id"], entries[0]["dtIds"]
        columns["image_id"].append(np.full(len(ids), image_id))
        columns["class_id"].append(np.full(len(ids), class_id))
        columns["detection"].append(np.asarray(ids) - 1)
        columns["score"].append(np.asarray(entries[0]["dtScores"], np.float64))
        matches = np.stack([entry["dtMatches"] for entry in entries])
        ground_truth.append(np.where(matches == 0, -1, matches).astype(np.int64))
        ignored.append(np.stack([entry["dtIgnore"] for entry in entries]).astype(bool))
        iou.append(_matched_ious(run, image_id, class_id, ground_truth[-1]))
    if not ground_truth:
        empty = np.zeros((num_areas, num_thresholds, 0))
        rows = {name: np.zeros(0, np.float64 if name == "score" else np.int64) for name in columns}
        return rows | {"ground_truth": empty.astype(np.int64), "iou": empty, "ignored": empty.astype(bool)}
    rows = {name: np.concatenate(parts) for name, parts in columns.items()}
    rows["ground_truth"] = np.concatenate(ground_truth, axis=-1)
    rows["iou"] = np.concatenate(iou, axis=-1)
    rows["ignored"] = np.concatenate(ignored, axis=-1)
    order = np.argsort(rows["detection"], kind="stable")
    return {name: column[..., order] for name, column in rows.items()}


def _matched_ious(run: COCOeval, image_id: int, class_id: int, ground_truth: np.ndarray) -> np.ndarray:
    classes = run.params.catIds if class_id == -1 else [class_id]
    ids = np.array([row["id"] for k in classes for row in run._gts[image_id, k]], np.int64)
    if not ids.size:
        return np.full(ground_truth.shape, np.nan)
    column = np.argmax(ground_truth[..., None] == ids, axis=-1)
    ious = np.asarray(run.ious[image_id, class_id])[np.arange(ground_truth.shape[-1]), column]
    return np.where(ground_truth == -1, np.nan, ious)
