"""`jaxmap.confusion_matrix` by hand, against the rules written out in loops, and against hotcoco and faster-coco-eval.

All comparisons are of counts, and exact.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap._geometry._boxes_host import box_iou_pairs
from jaxmap._ordering import take_rows
from jaxmap._pairing._host import PAIRINGS
from support.scenes import Scene, odd_scenes, random_scene

pytestmark = odd_scenes

K = 2  # classes of the scenes by hand
EMPTY = {"boxes": [], "labels": []}
SEEDS = range(6000, 6024)


def span(start: float, stop: float) -> list[float]:
    """A box of height 1, so that the IoU of two is that of their spans."""
    return [start, 0.0, stop, 1.0]


def confusion(found: list[tuple[Any, int, float]], truth: list[tuple[Any, int]], **options: Any) -> jaxmap.Confusion:
    """Scores one image of (span, label, score) and (span, label)."""
    spans, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    truth_spans, truth_labels = zip(*truth, strict=True) if truth else ((), ())
    extra = {name: [options.pop(name)] for name in ("crowd", "ignore") if name in options}
    return jaxmap.confusion_matrix(
        [{"boxes": [span(*one) for one in spans], "labels": list(labels), "scores": list(scores)}],
        [{"boxes": [span(*one) for one in truth_spans], "labels": list(truth_labels)} | {
            name: np.array(values[0]) for name, values in extra.items()
        }],
        **{"num_classes": K} | options,
    )  # fmt: skip


def matrix(cells: dict[tuple[int, int], int]) -> np.ndarray:
    counts = np.zeros((K + 1, K + 1), int)
    for cell, count in cells.items():
        counts[cell] = count
    return counts


# ---- by hand ----

# The most similar pair is of the lower score: the object [0, 100] of class 0 is met by A, class 1, IoU .8, score .9,
# and by B, class 0, IoU .9, score .6. B also meets [40, 90] of class 1, at 50 / 90; A does not (40 / 90).
SCORE_OR_IOU = [((0, 80), 1, 0.9), ((0, 90), 0, 0.6)], [((0, 100), 0), ((40, 90), 1)]
# The most similar pair is of two classes: the object of class 0 is met by A, class 1, IoU .9, and B, class 0, IoU .6.
IOU_OR_CLASS = [((0, 90), 1, 0.9), ((0, 60), 0, 0.5)], [((0, 100), 0)]
# B, IoU .7 with [0, 100], loses that to A (.9), and has a second choice: [0, 38.5], IoU .55.
SECOND_CHOICE = [((0, 90), 0, 0.9), ((0, 70), 1, 0.5)], [((0, 100), 0), ((0, 38.5), 1)]


@pytest.mark.parametrize(
    ("scene", "pairing", "cells"),
    [
        (SCORE_OR_IOU, "score", {(0, 1): 1, (1, 0): 1}),
        (SCORE_OR_IOU, "iou", {(0, 0): 1, (1, K): 1, (K, 1): 1}),
        (SCORE_OR_IOU, "class_first", {(0, 0): 1, (1, K): 1, (K, 1): 1}),
        (SCORE_OR_IOU, "best_only", {(0, 0): 1, (1, K): 1, (K, 1): 1}),
        (IOU_OR_CLASS, "score", {(0, 1): 1, (K, 0): 1}),
        (IOU_OR_CLASS, "iou", {(0, 1): 1, (K, 0): 1}),
        (IOU_OR_CLASS, "class_first", {(0, 0): 1, (K, 1): 1}),
        (IOU_OR_CLASS, "best_only", {(0, 1): 1, (K, 0): 1}),
        (SECOND_CHOICE, "score", {(0, 0): 1, (1, 1): 1}),
        (SECOND_CHOICE, "iou", {(0, 0): 1, (1, 1): 1}),
        (SECOND_CHOICE, "class_first", {(0, 0): 1, (1, 1): 1}),
        (SECOND_CHOICE, "best_only", {(0, 0): 1, (1, K): 1, (K, 1): 1}),
    ],
)
def test_rules_of_pairing_by_hand(scene: Any, pairing: str, cells: dict[tuple[int, int], int]) -> None:
    np.testing.assert_array_equal(confusion(*scene, pairing=pairing).counts, matrix(cells))


def test_the_default_is_the_order_of_scores() -> None:
    np.testing.assert_array_equal(confusion(*SCORE_OR_IOU).counts, confusion(*SCORE_OR_IOU, pairing="score").counts)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_thresholds_belong_to_what_counts(pairing: str) -> None:
    found = [((0, 50), 0, 0.25), ((0, 100), 0, 0.2499)]
    at = {"pairing": pairing, "iou_threshold": 0.5}
    np.testing.assert_array_equal(confusion(found, [((0, 100), 0)], **at).counts, matrix({(0, 0): 1}))
    # With the other one, which fits better and scores less.
    both = confusion(found, [((0, 100), 0)], score_threshold=-math.inf, **at)
    np.testing.assert_array_equal(both.counts, matrix({(0, 0): 1, (K, 0): 1}))
    none = confusion(found, [((0, 100), 0)], pairing=pairing, iou_threshold=0.51)
    np.testing.assert_array_equal(none.counts, matrix({(0, K): 1, (K, 0): 1}))
    perfect = confusion([((0, 1 / 3), 0, 1.0)], [((0, 1 / 3), 0)], pairing=pairing, iou_threshold=1.0)
    np.testing.assert_array_equal(perfect.counts, matrix({(0, 0): 1}))


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("flag", ["crowd", "ignore"])
def test_crowds_and_ignored_ones_absorb_what_is_left_over(pairing: str, flag: str) -> None:
    # The first ground truth, of class 1, is a crowd or ignored. Two detections of class 0 lie on it: both left out. The
    # third lies on an object that counts as well, though less well, and takes that.
    truth = [((0, 100), 1), ((10, 80), 0)]
    found = [((0, 100), 0, 0.9), ((0, 99), 0, 0.8), ((0, 80), 0, 0.7)]
    result = confusion(found[:2], truth[:1], **{flag: [True]}, pairing=pairing)
    assert (result.counts == 0).all()
    assert result.num_left_out == 2
    result = confusion(found[2:], truth, **{flag: [True, False]}, pairing=pairing)
    np.testing.assert_array_equal(result.counts, matrix({(0, 0): 1}))
    assert result.num_left_out == 0
    # A small detection inside: most of it lies in the crowd, but its IoU with the ignored one is low.
    result = confusion([((0, 30), 0, 0.9)], truth[:1], **{flag: [True]}, pairing=pairing)
    assert result.num_left_out == (flag == "crowd")
    np.testing.assert_array_equal(result.counts, matrix({} if flag == "crowd" else {(K, 0): 1}))


def test_ties_go_by_class_then_position_and_to_the_later_ground_truth() -> None:
    # Two detections of one score on one object: the lower class first, then the earlier row.
    one = [((0, 100), 0)]
    for found in ([((0, 90), 1, 0.5), ((0, 80), 0, 0.5)], [((0, 80), 0, 0.5), ((0, 90), 1, 0.5)]):
        np.testing.assert_array_equal(confusion(found, one).counts, matrix({(0, 0): 1, (K, 1): 1}))
    # Two equal pairs: that of the higher score, then that of the later ground truth, which has the higher class.
    found = [((0, 90), 1, 0.5), ((0, 90), 0, 0.9)]
    for pairing in ("score", "iou", "best_only"):
        np.testing.assert_array_equal(confusion(found, one, pairing=pairing).counts, matrix({(0, 0): 1, (K, 1): 1}))
        for truth in ([((0, 100), 0), ((0, 100), 1)], [((0, 100), 1), ((0, 100), 0)]):
            counts = confusion(found[1:], truth, pairing=pairing).counts
            np.testing.assert_array_equal(counts, matrix({(1, 0): 1, (0, K): 1}))


def test_normalized_by_row_column_and_all() -> None:
    # Of four objects of class 0 two are found, one is taken for class 1, one missed; one detection is on nothing.
    truth = [((1000.0 * i, 1000.0 * i + 100), 0) for i in range(4)]
    found = [((0, 100), 0, 0.9), ((1000, 1100), 0, 0.9), ((2000, 2100), 1, 0.9), ((9000, 9100), 1, 0.9)]
    counts = matrix({(0, 0): 2, (0, 1): 1, (0, K): 1, (K, 1): 1})
    nan = math.nan
    expected = {
        None: counts,
        "true": [[0.5, 0.25, 0.25], [nan, nan, nan], [0.0, 1.0, 0.0]],
        "pred": [[1.0, 0.5, 1.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0]],
        "all": counts / 5,
    }
    for by, values in expected.items():
        result = confusion(found, truth, normalize=by)
        np.testing.assert_array_equal(result.matrix, values)
        np.testing.assert_array_equal(result.counts, counts)
    nothing = confusion([], [], normalize="all")
    assert np.isnan(nothing.matrix).all()
    assert (nothing.counts == 0).all()


# ---- references ----


def by_the_rule(scene: Scene, iou_threshold: float, score_threshold: float, pairing: str) -> tuple[np.ndarray, int]:
    """Looks at one pair after the other."""
    size = len(scene.class_ids)
    counts, num_left_out = np.zeros((size + 1, size + 1), int), 0
    for found, truth in zip(*scene.lists(), strict=True):
        rows = sorted(
            np.flatnonzero(found["scores"] >= score_threshold).tolist(),
            key=lambda d, f=found: (-f["scores"][d], f["labels"][d], d),
        )
        columns = sorted(range(len(truth["labels"])), key=lambda g, t=truth: (t["labels"][g], g))
        iou = {}
        for d in rows:
            for g in columns:
                pair = found["boxes"][d : d + 1], truth["boxes"][g : g + 1], truth["crowd"][g : g + 1]
                value = float(box_iou_pairs(*pair)[0])
                if value >= min(iou_threshold, 1 - 1e-10):
                    iou[d, g] = value
        allowed = [pair for pair in iou if not truth["crowd"][pair[1]]]

        def key(pair: tuple[int, int], rows=rows, columns=columns, found=found, truth=truth, iou=iou) -> Any:
            d, g = pair
            tie = rows.index(d), -columns.index(g)
            same_class = found["labels"][d] == truth["labels"][g]
            return {
                "score": (tie[0], -iou[pair], tie[1]),
                "class_first": (not same_class, -iou[pair], *tie),
            }.get(pairing, (-iou[pair], *tie))

        if pairing == "best_only":
            allowed = [min((p for p in allowed if p[0] == d), key=key) for d in {pair[0] for pair in allowed}]
        partner: dict[int, int] = {}
        for d, g in sorted(allowed, key=key):
            if d not in partner and g not in partner.values():
                partner[d] = g
        for d in rows:
            if d in partner:
                counts[truth["labels"][partner[d]], found["labels"][d]] += 1
            elif any(pair[0] == d and truth["crowd"][pair[1]] for pair in iou):
                num_left_out += 1
            else:
                counts[size, found["labels"][d]] += 1
        for g in columns:
            if g not in partner.values() and not truth["crowd"][g]:
                counts[truth["labels"][g], size] += 1
    return counts, num_left_out


def tables(scene: Scene) -> tuple[jaxmap.DetectionTable, jaxmap.GroundTruthTable]:
    truth = jaxmap.io.coco_ground_truths(scene.ground_truths)
    return jaxmap.io.coco_detections(scene.results, truth), truth


def scene_of(seed: int) -> Scene:
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    return Scene(scene.ground_truths, scene.results[:150], {})


def test_random_scenes_are_paired_by_the_rules() -> None:
    differ = left_out = 0
    for seed in SEEDS:
        scene = scene_of(seed)
        iou_threshold, score_threshold = (0.3, 0.5, 0.75)[seed % 3], (0.0, 0.25, 0.5)[seed % 2]
        all_counts = {}
        for pairing in PAIRINGS:
            result = jaxmap.confusion_matrix(
                *tables(scene), iou_threshold=iou_threshold, score_threshold=score_threshold, pairing=pairing
            )
            expected = by_the_rule(scene, iou_threshold, score_threshold, pairing)
            np.testing.assert_array_equal(result.counts, expected[0], err_msg=f"{seed} {pairing}")
            assert result.num_left_out == expected[1]
            all_counts[pairing] = result.counts.tobytes()
            left_out += result.num_left_out
        differ += len(set(all_counts.values())) > 1
    assert differ >= 5
    assert left_out >= 5


def without_crowds(scene: Scene) -> Scene:
    rows = [row | {"iscrowd": 0} for row in scene.ground_truths["annotations"]]
    return Scene(scene.ground_truths | {"annotations": rows}, scene.results, {})


def hotcoco_counts(scene: Scene, iou_threshold: float, score_threshold: float) -> np.ndarray:
    hotcoco = pytest.importorskip("hotcoco")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = hotcoco.COCO(scene.ground_truths)
        run = hotcoco.COCOeval(truth, truth.load_res(scene.results), "bbox")
        answer = run.confusion_matrix(iou_thr=iou_threshold, max_det=10**6, min_score=score_threshold)
    return np.asarray(answer["matrix"], np.int64)


def test_by_score_equals_hotcoco_on_random_scenes() -> None:
    for seed in SEEDS:
        scene = without_crowds(scene_of(seed))
        if scene.results:
            counts = jaxmap.confusion_matrix(*tables(scene), iou_threshold=0.5, score_threshold=0.25).counts
            np.testing.assert_array_equal(counts, hotcoco_counts(scene, 0.5, 0.25), err_msg=str(seed))


@pytest.mark.parametrize(
    "names",
    [
        ("cocoapi_val2014_100/ground_truth", "cocoapi_val2014_100/fake_boxes"),
        ("coco_val2017/ground_truth_exact_188_images", "coco_val2017/ssd_resnet50_fpn"),
        ("small/gt_dataset", "small/dt_dataset"),
    ],
)
def test_by_score_equals_hotcoco_on_real_detections(names: tuple[str, str], shared_data: pathlib.Path) -> None:
    truth, results = (json.loads(gzip.decompress((shared_data / f"{name}.json.gz").read_bytes())) for name in names)
    images = {image["id"] for image in truth["images"]}
    scene = Scene(truth, [row for row in results if row["image_id"] in images], {})
    result = jaxmap.confusion_matrix(*tables(scene), score_threshold=0.25)
    theirs = hotcoco_counts(scene, 0.5, 0.25)
    # It has no crowds: what lies on them alone is a false positive there, and left out here.
    np.testing.assert_array_equal(result.counts[:-1], theirs[:-1])
    assert theirs[-1].sum() - result.counts[-1].sum() == result.num_left_out
    assert (theirs[-1] >= result.counts[-1]).all()


def test_by_score_equals_faster_coco_eval() -> None:
    pytest.importorskip("faster_coco_eval")
    from faster_coco_eval import COCO
    from faster_coco_eval.extra.display import PreviewResults

    for seed in SEEDS:
        scene = without_crowds(scene_of(seed))
        if not scene.results or not scene.ground_truths["annotations"]:
            continue
        counts = jaxmap.confusion_matrix(*tables(scene), iou_threshold=0.5, score_threshold=0.25).counts
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(scene.ground_truths)
            run = PreviewResults(truth, truth.loadRes(scene.results), iou_tresh=0.5, min_score=0.25, useCats=False)
            theirs = run.compute_confusion_matrix()  # [K, K + 2]: pairs, false positives, misses, in the file's order
        order = np.argsort([category["id"] for category in scene.ground_truths["categories"]])
        np.testing.assert_array_equal(counts[:-1, :-1], theirs[order][:, order], err_msg=str(seed))
        np.testing.assert_array_equal(counts[-1, :-1], theirs[order, -2], err_msg=str(seed))
        np.testing.assert_array_equal(counts[:-1, -1], theirs[order, -1], err_msg=str(seed))


# ---- the rest ----


def test_an_evaluation_gives_the_same_within_its_limit() -> None:
    for seed in SEEDS[:4]:
        found, truth = tables(scene_of(seed))
        evaluation = jaxmap.evaluate(found, truth, max_detections=200)
        for pairing in PAIRINGS:
            options = {"iou_threshold": 0.6, "score_threshold": 0.1, "pairing": pairing}
            np.testing.assert_array_equal(
                evaluation.confusion_matrix(**options).counts, jaxmap.confusion_matrix(found, truth, **options).counts
            )
    two = [{"boxes": [span(0, 10), span(20, 30)], "labels": [0, 0], "scores": [0.9, 0.8]}]
    limited = jaxmap.evaluate(two, [EMPTY], num_classes=K, max_detections=1)
    np.testing.assert_array_equal(limited.confusion_matrix().counts, matrix({(K, 0): 1}))


def test_order_of_images_and_of_rows_without_ties_changes_nothing() -> None:
    for seed in SEEDS[:8]:
        scene = random_scene(np.random.default_rng(seed), score_ties=False, default_options=True)
        found, truth = tables(scene)
        order = np.random.default_rng(seed).permutation(len(found.scores))
        shuffled = take_rows(found, order)
        for pairing in PAIRINGS:
            expected = jaxmap.confusion_matrix(found, truth, pairing=pairing)
            np.testing.assert_array_equal(
                jaxmap.confusion_matrix(shuffled, truth, pairing=pairing).counts, expected.counts
            )


def test_classes_are_named() -> None:
    truth = [{"boxes": [span(0, 10)], "labels": [3]}]
    result = jaxmap.confusion_matrix([EMPTY | {"scores": []}], truth, class_names={3: "cat", 7: "dog"})
    assert result.class_ids.tolist() == [3, 7]
    assert result.class_names == ("cat", "dog")
    np.testing.assert_array_equal(result.counts, matrix({(0, K): 1}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iou_threshold": 0.0}, "`iou_threshold` must lie in (0, 1], got 0.0"),
        ({"iou_threshold": math.nan}, "`iou_threshold` must lie in (0, 1], got nan"),
        ({"score_threshold": math.nan}, "`score_threshold` must be a number, got nan"),
        ({"pairing": "hungarian"}, "`pairing` must be one of ['score', 'iou', 'class_first', 'best_only'], got 'hung"),
        ({"normalize": "rows"}, "`normalize` must be one of [None, 'true', 'pred', 'all'], got 'rows'"),
        ({"box_format": "xyhw"}, "`box_format` must be one of"),
    ],
)
def test_refusals_name_the_option(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        confusion([], [], **options)
