"""The made-up scene: the same every time, well formed, and with the traits that it promises."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from jaxmap.io import demo_scene


@pytest.fixture(scope="module")
def scene():
    return demo_scene()


def columns(table):
    return {name: np.asarray(value) for name, value in vars(table).items() if value is not None}


def test_demo_scene_is_the_same_for_the_same_seed(scene):
    for table, again in zip(scene, demo_scene(), strict=True):
        for name, column in columns(table).items():
            np.testing.assert_array_equal(column, columns(again)[name])


def test_demo_scene_differs_for_another_seed(scene):
    assert not np.array_equal(demo_scene(seed=1)[1].boxes[:10], scene[1].boxes[:10])


def test_demo_scene_does_not_change_between_versions(scene):
    # Documentation quotes its numbers: a change here changes them, and must be meant.
    digest = hashlib.sha256()
    for table in scene:
        for name, column in columns(table).items():
            if name not in ("class_names", "image_sizes"):
                digest.update(column.astype("<f8").tobytes())
    assert digest.hexdigest()[:16] == "8310bc1467bce2fb"


def test_demo_scene_is_well_formed(scene):
    detections, ground_truths = scene
    for table in scene:
        num = len(table.ids)
        for name, column in columns(table).items():
            if name not in ("image_ids", "class_ids", "class_names", "image_sizes"):
                assert len(column) == num, name
        assert table.boxes.shape == (num, 4)
        assert (table.boxes[:, 2:] > 0).all()
        assert set(table.image_index) <= set(range(len(ground_truths.image_ids)))
        assert set(table.labels) == set(range(len(ground_truths.class_ids)))
    assert ((detections.scores > 0) & (detections.scores < 1)).all()
    assert len(ground_truths.class_names) == len(ground_truths.class_ids)
    assert ground_truths.image_sizes.tolist() == [[480, 640]] * len(ground_truths.image_ids)


def test_demo_scene_has_what_real_scenes_have(scene):
    detections, ground_truths = scene
    counts = np.bincount(ground_truths.image_index, minlength=len(ground_truths.image_ids))
    sizes = np.digitize(ground_truths.area, [32**2, 96**2])
    assert (counts == 0).any()  # images without objects
    assert np.bincount(sizes).min() > len(sizes) / 5  # small, medium and large ones
    assert ground_truths.crowd.any()
    assert len(np.unique(detections.scores)) < len(detections.scores)  # ties
    assert (ground_truths.area < ground_truths.boxes[:, 2] * ground_truths.boxes[:, 3]).all()  # masks, not boxes


@pytest.mark.parametrize("num_images", [1, 2, 7])
def test_demo_scene_may_be_small(num_images):
    assert len(demo_scene(num_images=num_images)[1].image_ids) == num_images


def test_demo_scene_without_images_raises():
    with pytest.raises(ValueError, match="`num_images` must be at least 1, got 0"):
        demo_scene(num_images=0)
