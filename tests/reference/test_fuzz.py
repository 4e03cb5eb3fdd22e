"""Every match and every cell of random scenes equals pycocotools'."""

from __future__ import annotations

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from support.fuzz import check_scene, mismatches
from support.oracle import ATOL, run_pycocotools
from support.scenes import Scene, odd_scenes, random_scene

pytestmark = [odd_scenes, pytest.mark.slow]


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_random_scenes_equal_pycocotools(first: int) -> None:
    found = list(mismatches(range(first, first + 50)))
    assert not found, "\n".join(f"seed {seed}: {message}" for seed, message in found)


@pytest.mark.parametrize(("num_detections", "num_ground_truths", "limit"), [(120, 70, 100), (300, 150, 200)])
def test_crowded_images_equal_pycocotools(num_detections: int, num_ground_truths: int, limit: int) -> None:
    # Two images of one class where nearly every detection overlaps every ground truth, most of them equally well.
    rng = np.random.default_rng(0)

    def row() -> dict[str, object]:
        corner = rng.integers(0, 6, 2).astype(float).tolist()
        return {"image_id": int(rng.integers(2)), "category_id": 7, "bbox": [*corner, 20.0, 20.0]}

    annotations = [
        row() | {"id": i, "area": float(rng.choice([400, 1024, 9216])), "iscrowd": int(rng.random() < 0.1)}
        for i in range(1, num_ground_truths + 1)
    ]
    results = [row() | {"score": float(rng.integers(0, 20) / 20)} for _ in range(num_detections)]
    images, categories = [{"id": 0}, {"id": 1}], [{"id": 7, "name": "leaf"}]
    dataset = {"images": images, "categories": categories, "annotations": annotations}
    check_scene(Scene(dataset, results, {"max_detections": [1, 10, limit]}))


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_per_image_equals_pycocotools_on_each_image_alone(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed), default_options=True)
    ground_truths = io.coco_ground_truths(scene.ground_truths)
    evaluation = jaxmap.evaluate(io.coco_detections(scene.results, ground_truths), ground_truths)
    columns = evaluation.per_image()
    assert list(columns["image_id"]) == scene.image_ids
    for i, image_id in enumerate(scene.image_ids):
        alone = scene.cut([image_id])
        oracle = run_pycocotools(alone.ground_truths, alone.results)
        assert columns["num_detections"][i] == len(oracle.matches["detection"])
        assert columns["num_ground_truths"][i] == sum(
            not row["iscrowd"] and 0 <= row["area"] <= 1e10 for row in alone.ground_truths["annotations"]
        )
        for name, index in {"AP": 0, "AP50": 1, "AP75": 2, "AR100": 8}.items():
            expected = np.nan if oracle.stats[index] == -1 else oracle.stats[index]
            assert columns[name][i] == pytest.approx(expected, abs=ATOL, nan_ok=True), (name, image_id)
