"""LVIS against live lvis-api 0.5.3: all 13 numbers, on random scenes and on real annotations; and inside `jit`."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import LVIS
from jaxmap._summary import summarize_on_device
from jaxmap.types import UNDEFINED, PrecisionRecall
from support.lvis_scenes import Files, evaluate_lvis, federated_scene, jittered_results, run_lvis_api
from support.scenes import pad

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR@300", "ARs@300", "ARm@300", "ARl@300"]
# Room for every scene inside `jit`, where 10 detections of an image count.
NUM_IMAGES, D, G, K = 6, 40, 8, 4
LIMITED = LVIS.customize(max_detections=10)
METRIC = jaxmap.AveragePrecision(
    num_classes=K,
    max_images=NUM_IMAGES,
    max_detections_per_image=10,
    max_ground_truths_per_image=G,
    protocol=LIMITED,
    box_format="xywh",
    class_group=("r", "c", "f", "r"),
)


def assert_equal_numbers(numbers: dict[str, float], files: Files, folder: pathlib.Path, iou_type: str = "bbox") -> None:
    """Both compute in float64 from the same counts: only the order of the last sums differs."""
    expected = run_lvis_api(files, folder, iou_type)
    assert list(expected) == list(numbers) == NAMES
    np.testing.assert_allclose(list(numbers.values()), list(expected.values()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(25))
def test_random_scenes_equal_lvis_api(seed: int, tmp_path: pathlib.Path) -> None:
    files = federated_scene(np.random.default_rng(seed))
    assert_equal_numbers(evaluate_lvis(files).summary, files, tmp_path)


@pytest.mark.parametrize("area", [1e-320, 1e-300, 1e-31, 1e-30])
def test_any_area_above_zero_counts(area: float, tmp_path: pathlib.Path) -> None:
    files = federated_scene(np.random.default_rng(0))
    for row in files[0]["annotations"][::2]:
        row["area"] = area
    assert_equal_numbers(evaluate_lvis(files).summary, files, tmp_path)


@pytest.fixture(scope="module")
def truth(shared_data: pathlib.Path) -> dict[str, Any]:
    data = json.loads(gzip.decompress((shared_data / "lvis_val_100" / "ground_truth.json.gz").read_bytes()))
    data["images"] = data["images"][:40]
    image_ids = {image["id"] for image in data["images"]}
    data["annotations"] = [row for row in data["annotations"] if row["image_id"] in image_ids]
    return data


@pytest.mark.slow
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_real_annotations_equal_lvis_api(iou_type: str, truth: dict[str, Any], tmp_path: pathlib.Path) -> None:
    files = truth, jittered_results(truth, np.random.default_rng(0), masks=iou_type == "segm")
    evaluation = evaluate_lvis(files, iou_type)
    assert len(files[1]) > len(evaluation.matched.order)  # the limit and the unverified classes had work to do
    assert_equal_numbers(evaluation.summary, files, tmp_path, iou_type)


def arrays(evaluation: jaxmap.Evaluation) -> tuple[jaxmap.Detections, jaxmap.GroundTruths]:
    """Returns the tables of an evaluation as padded float32 arrays."""
    found, truth = evaluation.matched.source, evaluation.matched.ground_truths
    narrow = {"f": np.float32, "i": np.int32, "b": np.bool_}
    sides = []
    for table, names, length in ((found, ("scores",), D), (truth, ("area", "ignore"), G)):
        columns = [(name, getattr(table, name)) for name in ("boxes", "labels", *names)]
        images = [
            {name: column[table.image_index == image].astype(narrow[column.dtype.kind]) for name, column in columns}
            for image in range(NUM_IMAGES)
        ]
        sides.append(pad(images, length))
    for name in ("verified", "not_exhaustive"):
        flags = getattr(truth, name)
        sides[1][name] = np.pad(flags, [(0, NUM_IMAGES - flags.shape[0]), (0, K - flags.shape[1])])
    return jaxmap.Detections(**sides[0]), jaxmap.GroundTruths(**sides[1])


@jax.jit
def update(found: jaxmap.Detections, truth: jaxmap.GroundTruths) -> Any:
    return METRIC.update(METRIC.init(), found, truth, image_id=jnp.arange(NUM_IMAGES, dtype=jnp.int32))


@jax.jit
def summarize(curves: PrecisionRecall) -> dict[str, jax.Array]:
    return summarize_on_device(curves, LIMITED, METRIC.class_group)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_inside_jit_equals_the_host(seed: int) -> None:
    files = federated_scene(np.random.default_rng(seed), max_classes=K, max_objects=2)
    evaluation = evaluate_lvis(files, max_detections=10)
    expected = evaluation.summary
    result = METRIC.compute(update(*arrays(evaluation)))
    numbers = METRIC.summarize(result)
    # Matches are exact on these whole-number boxes, and curves are integrated in float64.
    np.testing.assert_allclose([numbers[name] for name in expected], [*expected.values()], rtol=0, atol=1e-12)
    curves = jax.tree.map(lambda x: np.nan_to_num(x.astype(np.float32), nan=UNDEFINED), result.curves)
    on_device = summarize(curves)
    assert set(on_device) == set(expected) == {name.replace("300", "10") for name in NAMES}
    values = np.array([on_device[name] for name in expected])
    values[values == UNDEFINED] = np.nan
    np.testing.assert_allclose(values, [*expected.values()], rtol=0, atol=1e-6)  # float32


@pytest.mark.slow
def test_groups_need_the_group_of_every_class() -> None:
    files = federated_scene(np.random.default_rng(1), max_classes=K, max_objects=2)
    found, truth = arrays(evaluate_lvis(files))
    state = update(found, truth)
    without = dataclasses.replace(METRIC, class_group=None)
    numbers = without.summarize(without.compute(state))
    assert numbers["AP"] > 0
    assert np.isnan([numbers[name] for name in ("APr", "APc", "APf")]).all()
    with pytest.raises(ValueError, match="`class_group` must name the group of each of 4 classes, got 3"):
        dataclasses.replace(METRIC, class_group=("r", "c", "f"))
    options = {"protocol": LIMITED, "num_classes": K, "class_group": ("r", "c", "f")}
    with pytest.raises(ValueError, match="`class_group` must name the group of each of 4 classes, got 3"):
        jax.eval_shape(functools.partial(jaxmap.average_precision, **options), found, truth)
