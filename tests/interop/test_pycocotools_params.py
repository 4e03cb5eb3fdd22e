"""Parameters and ids that the pycocotools shell refuses, warns of, or keeps exact."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from jaxmap.interop.pycocotools import COCO, COCOeval
from support.both_cocos import OURS, load, script, tiny


def run_with(name: str, value: Any) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(*load(OURS, *tiny()), "bbox")
        setattr(run.params, name, value)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("areaRng", [], ValueError, r"`params.areaRng` must hold at least one pair \(low, high\), got none"),
        ("areaRng", [0, 1e10], ValueError, r"`params.areaRng\[0\]` must be a pair \(low, high\), got 0"),
        ("areaRng", [[0, "all"]], ValueError, r"`params.areaRng\[0\]` must be a pair"),
        ("areaRng", [[0, 1e10]], IndexError, "one name in `params.areaRngLbl` for each of 1 ranges"),
        ("iouThrs", [], ValueError, "IoU thresholds must be at least one finite number, got"),
        ("iouThrs", ["half"], ValueError, "IoU thresholds must be at least one finite number, got"),
        ("recThrs", [np.nan], ValueError, "recall points must be at least one finite number, got"),
        ("maxDets", [], ValueError, "detection limits must be at least one whole number, got"),
        ("maxDets", [1, 10, 100.5], ValueError, "detection limits must be at least one whole number, got"),
        ("imgIds", [7, "9"], TypeError, "`params.imgIds` must be ids of one kind"),
        ("iouType", "bboxes", ValueError, "`iouType` must be one of"),
    ],
)
def test_parameters_that_cannot_be_scored(name: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run_with(name, value)


@pytest.mark.parametrize(("name", "value"), [("imgIds", [7, 12345]), ("catIds", [18, 4])])
def test_ids_that_the_ground_truths_lack_are_said_once(name: str, value: list[int]) -> None:
    with pytest.warns(
        UserWarning, match=f"1 of `params.{name}` are not in the ground truths.*example {value[1]}"
    ) as seen:
        run_with(name, value)
    assert len(seen) == 1


def renumbered(places: dict[int, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The scene with its images renamed."""
    dataset, results = copy.deepcopy(tiny())
    for row in dataset["images"]:
        row["id"] = places[row["id"]]
    for row in [*dataset["annotations"], *results]:
        row["image_id"] = places[row["image_id"]]
    return dataset, results


@pytest.mark.parametrize("large", [2**32 + 1, 2**53 + 1, 2**63, 2**70])
def test_ids_of_any_size_stay_exact(large: int) -> None:
    # As an array, ids of which some are 2^63 and more would be floats, in which neighbours are one.
    expected, _ = script(OURS, *tiny())
    images = sorted(image["id"] for image in tiny()[0]["images"])
    places = {image: place if place else -1 for place, image in enumerate(images)} | {
        image: large + place for place, image in enumerate(images[1:])
    }
    run, _ = script(OURS, *renumbered(places))
    np.testing.assert_array_equal(run.stats, expected.stats)
    assert run.params.imgIds == sorted(places.values())
    assert {entry["image_id"] for entry in run.evalImgs if entry is not None} <= set(places.values())


def test_annotations_that_share_an_id_are_said() -> None:
    dataset, _ = tiny()
    for number, row in enumerate(dataset["annotations"]):
        row["id"] = number % 2 + 1
    truth = COCO()
    truth.dataset = dataset
    count = len(dataset["annotations"])
    with pytest.warns(UserWarning, match=f"{count - 2} of {count} `annotations` have the id of another one"):
        truth.createIndex()


@pytest.mark.parametrize(
    ("name", "field"),
    [("images", "id"), ("categories", "id"), ("annotations", "id"), ("annotations", "image_id"),
     ("annotations", "category_id")],
)  # fmt: skip
def test_entry_without_its_id_is_named(name: str, field: str) -> None:
    truth = COCO()
    truth.dataset, _ = tiny()
    del truth.dataset[name][-1][field]
    place = len(truth.dataset[name]) - 1
    with pytest.raises(ValueError, match=rf"dataset: `{name}\[{place}\]` has no `{field}`"):
        truth.createIndex()


def test_results_without_an_image_are_named() -> None:
    truth, _ = load(OURS, *tiny())
    with pytest.raises(ValueError, match=r"loadRes: `results\[1\]` has no `image_id`"):
        truth.loadRes([tiny()[1][0], {"category_id": 18, "score": 1.0, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(ValueError, match=r"image ids and category ids must be whole numbers, got 7\.5"):
        truth.loadRes(np.array([[7.5, 0, 0, 1, 1, 0.5, 18]]))


def test_empty_dataset_can_be_looked_up() -> None:
    empty = COCO()
    assert (empty.getAnnIds(), empty.getCatIds(), empty.getImgIds()) == ([], [], [])
    assert COCOeval(empty, empty, "bbox").params.catIds == []
    empty.dataset = {"images": []}
    with pytest.raises(KeyError, match="`dataset` has no `categories`"):
        empty.getCatIds()


def test_datasets_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`cocoGt` must be a COCO object, got str; read files with `COCO\(path\)`"):
        COCOeval("gt.json", "dt.json")
    with pytest.raises(ValueError, match="`cocoGt` and `cocoDt` must be set before `evaluate`"):
        COCOeval().evaluate()


def test_info_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    truth = COCO()
    truth.info()
    truth.dataset = {"info": {"year": 2017, "description": "two\nlines"}}
    truth.info()
    assert capsys.readouterr().out == "year: 2017\ndescription: two\\nlines\n"
