"""Members of pycocotools' classes that evaluators reach for beside the three steps."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import matplotlib
import numpy as np
import pytest
from pycocotools.cocoeval import Params as TheirParams

from jaxmap.interop.pycocotools import COCOeval, Params
from support.both_cocos import OURS, THEIRS, Classes, assert_same_eval, load, tiny
from support.scenes import odd_scenes
from support.shape_scenes import shape_scene

matplotlib.use("Agg")
pytestmark = odd_scenes


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("method", ["setDetParams", "setKpParams"])
def test_parameters_are_set_anew(iou_type: str, method: str) -> None:
    made = []
    for kind in (Params, TheirParams):
        params = kind(iou_type)
        params.imgIds, params.maxDets, params.useCats = [1, 2], [3], 0
        getattr(params, method)()
        made.append({name: np.asarray(value).tolist() for name, value in vars(params).items()})
    assert made[0] == made[1]


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
def test_annotations_and_results_by_image_and_category(iou_type: str) -> None:
    scene = shape_scene(np.random.default_rng(7), iou_type, default_options=True)
    made = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            run = classes[1](*load(classes, scene.ground_truths, scene.results), iou_type)
            assert (dict(run._gts), dict(run._dts)) == ({}, {})
            run._prepare()
        made.append((run._gts, run._dts))
    for ours, theirs in zip(*made, strict=True):
        assert {place for place, rows in theirs.items() if rows} == set(ours)
        for place in ours:
            for mine, other in zip(ours[place], theirs[place], strict=True):
                for name in ("id", "score", "bbox", "area", "iscrowd", "keypoints"):
                    if name in other:
                        np.testing.assert_array_equal(mine[name], other[name])
                assert bool(mine.get("ignore")) == bool(other.get("ignore"))
                if iou_type == "segm":
                    counts = [one["segmentation"]["counts"] for one in (mine, other)]
                    assert len({text.encode() if isinstance(text, str) else text for text in counts}) == 1
    assert made[0][0]["no image", "no category"] == []


def with_evaluate_image(base: Any) -> Any:
    class Lenient(base):  # type: ignore[misc]
        """Ignores every ground truth of one category."""

        def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Any:  # noqa: N802
            entry = super().evaluateImg(imgId, catId, aRng, maxDet)
            if entry is None or catId != 18:
                return entry
            assert len(self.ious[imgId, catId]) in (0, len(entry["dtIds"]))
            return {**entry, "gtIgnore": np.ones_like(entry["gtIgnore"])}

    return Lenient


def test_a_class_may_replace_the_evaluation_of_an_image() -> None:
    runs = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            run = with_evaluate_image(classes[1])(*load(classes, *tiny()), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        runs.append(run)
    assert_same_eval(*runs)
    assert (runs[0].eval["precision"][:, :, 1] == -1).all()


@pytest.mark.parametrize("name", ["computeIoU", "computeOks"])
def test_a_class_that_replaces_similarities_alone_is_refused(name: str) -> None:
    derived = type("Rotated", (COCOeval,), {name: lambda self, *_: []})
    with contextlib.redirect_stdout(io.StringIO()):
        run = derived(*load(OURS, *tiny()), "bbox")
        with pytest.raises(NotImplementedError, match=f"Rotated replaces `{name}`, which the matching of jaxmap's"):
            run.evaluate()


def captions(classes: Classes) -> tuple[Any, Any]:
    truth = classes[0]()
    truth.dataset = {
        "info": {"year": 2026, "description": "captions\x1b[31m" if classes is OURS else "captions\\x1b[31m"},
        "images": [{"id": 1}, {"id": 2}, {"id": 3}],
        "annotations": [{"id": 5, "image_id": 1, "caption": "a dog"}],
    }
    truth.createIndex()
    return truth, truth.loadRes([{"image_id": image_id, "caption": f"dog {image_id}"} for image_id in (3, 1)])


def test_captions_and_info() -> None:
    texts, found = [], []
    for classes in (OURS, THEIRS):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            truth, results = captions(classes)
            text.truncate(text.seek(0))
            truth.info()
            results.showAnns(results.loadAnns(results.getAnnIds()))
        texts.append(text.getvalue())
        found.append([results.anns, results.imgs, results.getImgIds(), dict(results.imgToAnns)])
    assert texts[0] == texts[1]
    assert "dog 3\ndog 1\n" in texts[0]
    assert found[0] == found[1]


def drawn(classes: Classes, annotations: list[dict[str, Any]], draw_bbox: bool) -> Any:
    from matplotlib import pyplot

    truth = classes[0]()
    truth.dataset = {
        "images": [{"id": 7, "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "person", "skeleton": [[1, 2], [2, 3]]}],
        "annotations": copy.deepcopy(annotations),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    figure, axes = pyplot.subplots()
    try:
        truth.showAnns(truth.dataset["annotations"], draw_bbox)
        lines = sorted(line.get_xydata().tolist() for line in axes.lines)
        paths = sorted(path.vertices[:4].min(0).tolist() for one in axes.collections for path in one.get_paths())
        masks = [image.get_array()[..., 3].tolist() for image in axes.images]
        sizes = [len(one.get_facecolor()) + len(one.get_edgecolor()) for one in axes.collections]
    finally:
        pyplot.close(figure)
    return lines, paths, masks, sizes


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("draw_bbox", [False, True])
def test_annotations_are_drawn(draw_bbox: bool) -> None:
    row = {"image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [5, 5, 20, 10]}
    annotations = [
        {"id": 1, **row, "segmentation": [[5, 5, 5, 15, 25, 15], [30, 30, 30, 35, 40, 35]]},
        {"id": 2, **row, "segmentation": {"size": [40, 60], "counts": [100, 50, 2250]}, "iscrowd": 1},
        {"id": 3, **row, "segmentation": [[1, 1, 1, 3, 3, 3]], "keypoints": [1, 2, 2, 10, 5, 1, 8, 9, 0]},
    ]
    ours, theirs = (drawn(classes, annotations, draw_bbox) for classes in (OURS, THEIRS))
    assert ours == theirs
    assert len(theirs[0]) > 2


def test_what_has_nothing_to_draw_is_named() -> None:
    row = {"id": 1, "image_id": 7, "category_id": 1}
    assert drawn(OURS, [{**row, "bbox": [5, 5, 20, 10]}], False)[1] == [[5, 5], [5, 5]]
    with pytest.raises(ValueError, match=r"`anns\[0\]` must have a `segmentation`, `keypoints`, a `bbox` or a"):
        drawn(OURS, [row], False)
    with contextlib.redirect_stdout(io.StringIO()):
        OURS[0]().showAnns([])
