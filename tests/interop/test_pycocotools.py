"""The same script, run under pycocotools and under the shell of its names, gives the same numbers and the same text."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import pathlib
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap.interop import pycocotools as shell
from support.both_cocos import ATOL, OURS, THEIRS, assert_same, assert_same_eval, load, script, tiny
from support.scenes import cut, odd_scenes, random_scene

pytestmark = odd_scenes


def real_pair(folder: pathlib.Path, ground_truths: str, results: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    dataset, rows = (
        json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes())) for name in (ground_truths, results)
    )
    for row in (*rows, *dataset["annotations"]):
        row.pop("segmentation", None)
    return cut(dataset, rows, sorted(image["id"] for image in dataset["images"]))


@pytest.fixture(scope="module")
def fake_boxes(shared_data: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return real_pair(shared_data, "cocoapi_val2014_100/ground_truth", "cocoapi_val2014_100/fake_boxes")


@pytest.fixture(scope="module")
def exact_188(shared_data: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return real_pair(shared_data, "coco_val2017/ground_truth_exact_188_images", "coco_val2017/ssd_resnet50_fpn")


# The same numbers.


def test_classic_hundred_images(fake_boxes: Any) -> None:
    run = assert_same(*fake_boxes)
    assert run.stats[0] == pytest.approx(0.504581, abs=1e-6)


@pytest.mark.slow
def test_official_annotations_of_188_images(exact_188: Any) -> None:
    run = assert_same(*exact_188)
    assert run.stats[0] == pytest.approx(0.4068, abs=1e-4)


@pytest.mark.parametrize("seed", range(2000, 2030))
def test_random_scenes(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    assert_same(scene.ground_truths, scene.results)


@pytest.mark.parametrize("seed", range(2060, 2100))
def test_random_scenes_with_other_parameters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, default_options=True)
    images = [i for i in scene.image_ids if rng.random() < 0.6]
    classes = [k for k in scene.class_ids if rng.random() < 0.7] if rng.random() < 0.5 else scene.class_ids
    limits = rng.choice([1, 2, 3, 10, 100, 300], 3, replace=False).tolist()
    edges = np.sort(rng.choice([0.0, 50.0, 100.0, 400.0, 1024.0, 9216.0, 1e10], (3, 2)), axis=1).tolist()
    thresholds = np.sort(rng.choice(np.linspace(0.05, 1.0, 20), int(rng.integers(1, 6)), replace=False))
    points = np.sort(rng.random(int(rng.integers(1, 20))))
    choice = rng.random(7) < 0.5

    def change(params: Any) -> None:
        if choice[0]:
            params.imgIds = list(reversed(images))
        if choice[1]:
            params.catIds = classes
        if choice[2]:
            params.maxDets = limits
        if choice[3]:
            params.areaRng, params.areaRngLbl = edges, ["all", "large", "other"]
        if choice[4]:
            params.iouThrs = thresholds
        if choice[5]:
            params.recThrs = points
        if choice[6]:
            params.useCats = 0

    assert_same(scene.ground_truths, scene.results, change)


@pytest.mark.parametrize("use_categories", [0, 1])
def test_subsets_of_images_and_categories(fake_boxes: Any, use_categories: int) -> None:
    dataset, results = fake_boxes
    images = [image["id"] for image in dataset["images"]][::3]
    categories = [category["id"] for category in dataset["categories"]][10:1:-2]

    def change(params: Any) -> None:
        params.imgIds, params.catIds, params.useCats = images, categories, use_categories

    assert_same(dataset, results, change)


@pytest.mark.filterwarnings("ignore:1 of `params:UserWarning")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imgIds", []),
        ("imgIds", [7, 7, 12345]),
        ("catIds", []),
        ("catIds", [18, 4]),
        ("iouThrs", np.array([0.75, 0.5])),
        ("iouThrs", np.array([0.5, 0.5, 0.9])),
        ("maxDets", [1, 10, 1000]),
        ("maxDets", [100, 1, 1]),
        ("maxDets", [2]),
        ("areaRng", [[0, 1e10]]),
        ("areaRngLbl", ["small", "all", "all", "none"]),
    ],
)
def test_unusual_parameters(name: str, value: Any) -> None:
    def change(params: Any) -> None:
        setattr(params, name, value)
        if name == "areaRng":
            params.areaRngLbl = ["all"]

    assert_same(*tiny(), change)


def test_categories_in_their_own_order_where_all_are_one() -> None:
    # Equal boxes and scores of both categories: which of them comes first is decided by `catIds` alone.
    dataset, results = tiny()
    results += [{**row, "category_id": 21 - row["category_id"]} for row in results]

    def change(params: Any) -> None:
        params.catIds, params.useCats = [18, 3], 0

    expected = assert_same(dataset, results, change)

    def repeat(params: Any) -> None:
        params.catIds, params.useCats = [18, 3, 18], 0

    repeated, _ = script(OURS, dataset, results, repeat)
    np.testing.assert_array_equal(repeated.stats, expected.stats)


def test_no_results() -> None:
    assert_same(tiny()[0], [])


def test_results_as_array_path_and_list(tmp_path: pathlib.Path) -> None:
    dataset, results = tiny()
    array = np.array([[row["image_id"], *row["bbox"], row["score"], row["category_id"]] for row in results])
    expected = assert_same(dataset, array).stats
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    for form in (results, jnp.asarray(array), str(path), path):
        with contextlib.redirect_stdout(io.StringIO()):
            truth, _ = load(OURS, dataset, [])
            run = shell.COCOeval(truth, truth.loadRes(form), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        np.testing.assert_allclose(run.stats, expected, atol=1e-6)  # JAX's array is float32


# The ways of use.


def test_parameters_changed_between_evaluate_and_accumulate(fake_boxes: Any) -> None:
    recalls = np.linspace(0, 1, 11)
    runs = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            run = classes[1](*load(classes, *fake_boxes), "bbox")
            run.evaluate()
            run.params.recThrs = recalls
            run.accumulate()
            run.summarize()
        runs.append(run)
    assert_same_eval(*runs)
    assert runs[0].eval["precision"].shape[1] == 11
    with contextlib.redirect_stdout(io.StringIO()):
        parameters = copy.deepcopy(runs[0].params)
        parameters.maxDets = [5]
        runs[0].accumulate(parameters)
    assert runs[0].eval["params"] is parameters
    assert runs[0].eval["precision"].shape[-1] == 1


def test_class_by_class_on_one_object(fake_boxes: Any) -> None:
    columns = []
    for classes in (OURS, THEIRS):
        with contextlib.redirect_stdout(io.StringIO()):
            run = classes[1](*load(classes, *fake_boxes), "bbox")
            column = []
            for category in list(run.params.catIds)[:12]:
                run.params.catIds = [category]
                run.evaluate()
                run.accumulate()
                run.summarize()
                column.append(run.stats)
        columns.append(np.stack(column))
    np.testing.assert_allclose(columns[0], columns[1], rtol=0, atol=ATOL)


@pytest.mark.parametrize("seed", range(2200, 2206))
def test_eval_images_gathered_from_batches(seed: int) -> None:
    # As detection trainers for several processes do: evaluate each batch, gather `evalImgs`, assign them, accumulate.
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    whole, _ = script(OURS, scene.ground_truths, scene.results)
    batches = [scene.image_ids[i::3] for i in range(3)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = load(OURS, scene.ground_truths, scene.results)
        run = shell.COCOeval(truth, iouType="bbox")
        parts, ids = [], []
        for batch in batches:
            if batch:
                run.cocoDt, run.params.imgIds = found, batch
                run.evaluate()
                parts.append(np.asarray(run.evalImgs).reshape(-1, len(run.params.areaRng), len(run.params.imgIds)))
                ids += run.params.imgIds
        order = np.argsort(ids)
        run.evalImgs = list(np.concatenate(parts, axis=2)[..., order].flatten())
        run.params.imgIds = [ids[i] for i in order]
        run.accumulate()
        run.summarize()
    assert_same_eval(run, whole)


def test_eval_images_of_another_size_are_refused() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        run = shell.COCOeval(*load(OURS, *tiny()), "bbox")
        run.evaluate()
        run.evalImgs = run.evalImgs[1:]
        with pytest.raises(ValueError, match=r"2 x 4 x 2, got 15"):
            run.accumulate()


def test_datasets_of_pycocotools_itself() -> None:
    expected, _ = script(OURS, *tiny())
    with contextlib.redirect_stdout(io.StringIO()):
        run = shell.COCOeval(*load(THEIRS, *tiny()), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    np.testing.assert_array_equal(run.stats, expected.stats)


def test_printed_progress_is_the_same() -> None:
    texts = []
    for classes in (OURS, THEIRS):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            run = classes[1](*load(classes, *tiny()), "bbox")
            run.params.useSegm = 0
            run.evaluate()
            run.accumulate()
        texts.append(re.sub(r"t=[0-9.]+", "t=", text.getvalue()))
    assert texts[0] == texts[1]


def test_annotation_id_zero_counts() -> None:
    dataset, results = tiny()
    expected, _ = script(OURS, dataset, results)
    dataset["annotations"][0]["id"] = 0
    with pytest.warns(UserWarning, match="id 0, which pycocotools reads as no match; its match counts here"):
        run, _ = script(OURS, dataset, results)
    np.testing.assert_array_equal(run.stats, expected.stats)
