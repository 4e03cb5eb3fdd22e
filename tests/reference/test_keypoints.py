"""Keypoints: the numbers published for shared files, the rules by hand, and other skeletons."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io

FILES = {
    # What the test suite of faster-coco-eval 1.8 expects of them (test_crowdpose.py), and the printed numbers of
    # LiteHRNet on 1,000 images; nan for pycocotools' -1.
    ("small/example_crowdpose_val", "small/example_crowdpose_preds", "crowdpose"): {
        "AP": 0.7877216,
        "AP_easy": 1.0,
        "AP_medium": 0.9802,
        "AP_hard": 0.4116,
    },
    ("keypoints_1000/ground_truth", "keypoints_1000/litehrnet", "coco-keypoints"): {
        "AP": 0.8273,
        "AP50": 0.9665,
        "AP75": 0.9119,
        "APm": np.nan,
        "APl": 0.8302,
        "AR": 0.8633,
        "AR50": 0.979,
        "AR75": 0.932,
        "ARm": np.nan,
        "ARl": 0.8668,
    },
}
SIGMAS = jaxmap.COCO_KEYPOINTS.keypoint_sigmas


@pytest.mark.parametrize("files", FILES, ids=lambda files: files[2])
def test_shared_files_give_the_published_numbers(files: tuple[str, str, str], shared_data: pathlib.Path) -> None:
    paths = [shared_data / f"{name}.json.gz" for name in files[:2]]
    truth = io.read_coco_ground_truths(paths[0], iou_type="keypoints")
    summary = jaxmap.evaluate(
        io.read_coco_detections(paths[1], truth, iou_type="keypoints"), truth, protocol=files[2]
    ).summary
    published = FILES[files]
    assert {name: summary[name] for name in published} == pytest.approx(published, abs=6e-5, nan_ok=True)  # 4 digits


def test_crowded_images_are_the_dataset_of_their_own(shared_data: pathlib.Path) -> None:
    truth, found = (io.load_json(shared_data / f"small/example_crowdpose_{name}.json.gz") for name in ("val", "preds"))
    whole = score(truth, found, "crowdpose")
    splits = {"easy": (-1.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, 2.0)}
    for name, (low, high) in splits.items():
        ids = {image["id"] for image in truth["images"] if low <= image["crowdIndex"] < high}
        assert ids
        part = {
            "categories": truth["categories"],
            "images": [image for image in truth["images"] if image["id"] in ids],
            "annotations": [row for row in truth["annotations"] if row["image_id"] in ids],
        }
        alone = score(part, [row for row in found if row["image_id"] in ids], "crowdpose")
        assert whole[f"AP_{name}"] == pytest.approx(alone["AP"], abs=1e-12)


def score(truth: dict[str, Any], found: list[dict[str, Any]], protocol: str) -> dict[str, float]:
    table = io.coco_ground_truths(truth, iou_type="keypoints")
    return jaxmap.evaluate(io.coco_detections(found, table, iou_type="keypoints"), table, protocol=protocol).summary


def oks(offset: float, visibility: list[int], *, area: float = 1e4, protocol: Any = None) -> float:
    """The OKS of one object, a detection's keypoints all `offset` to the right of it, read from `matches`."""
    protocol = protocol or jaxmap.COCO_KEYPOINTS
    place = np.stack([np.linspace(2, 8, len(visibility))] * 2, axis=1)
    truth = np.concatenate([place, np.array(visibility, float)[:, None]], axis=1)
    moved = np.array([offset, 0, 0])
    evaluation = jaxmap.evaluate(
        [{"keypoints": [truth + moved], "scores": [0.9], "labels": [0]}],
        [{"keypoints": [truth], "boxes": [[0, 0, 10, 10]], "labels": [0], "area": [area]}],
        protocol=protocol.customize(iou_thresholds=[1e-6]),
    )
    return float(evaluation.matches(1e-6)["iou"][0])


def test_similarity_is_the_mean_over_labelled_keypoints() -> None:
    # exp(-d^2 / (2 s^2 (2 sigma)^2)), s^2 the area: with d = 3 and s^2 = 1e4, 9 / 8e4 over sigma^2.
    each = np.exp(-9 / 8e4 / np.square(SIGMAS))
    assert oks(3.0, [2] * 17) == pytest.approx(each.mean(), abs=1e-12)
    labelled = [1, 0, 2] + [0] * 14  # occluded but labelled counts, unlabelled does not
    assert oks(3.0, labelled) == pytest.approx((each[0] + each[2]) / 2, abs=1e-12)


def test_objects_without_labelled_keypoints_are_ignored_and_compared_to_their_box() -> None:
    # The box [0, 0, 10, 10] doubled on each side reaches from -10 to 20: keypoints within are at no distance.
    assert oks(3.0, [0] * 17) == pytest.approx(1.0)
    # 17 keypoints from 2 to 8, moved by 14: x up to 22, what is beyond 20 counts.
    beyond = np.maximum(np.linspace(2, 8, 17) + 14 - 20, 0)
    expected = np.exp(-np.square(beyond) / 8e4 / np.square(SIGMAS)).mean()
    assert oks(14.0, [0] * 17) == pytest.approx(expected, abs=1e-12)
    nothing = {"keypoints": np.zeros((1, 17, 3)), "boxes": [[0, 0, 10, 10]], "labels": [0]}
    found = {"keypoints": np.full((1, 17, 3), 5.0), "scores": [0.9], "labels": [0]}
    evaluation = jaxmap.evaluate([found], [nothing], protocol="coco-keypoints")
    assert np.isnan(evaluation.summary["AP"])
    assert evaluation.matches()["ignored"].tolist() == [True]


def test_any_skeleton_brings_its_own_sigmas() -> None:
    protocol = jaxmap.COCO_KEYPOINTS.customize(keypoint_sigmas=[0.1, 0.2])
    assert oks(3.0, [2, 2], protocol=protocol) == pytest.approx(
        np.exp([-9 / 8e4 / 0.01, -9 / 8e4 / 0.04]).mean(), abs=1e-12
    )
    with pytest.raises(ValueError, match="one keypoint for each of the 17 `keypoint_sigmas` of the protocol, got 2"):
        oks(3.0, [2, 2])
    with pytest.raises(ValueError, match="`keypoint_sigmas` must hold a positive number for every keypoint"):
        jaxmap.COCO.customize(iou_type="keypoints")


def test_images_without_objects_come_anywhere() -> None:
    place = np.concatenate([np.arange(34.0).reshape(17, 2), np.full((17, 1), 2.0)], axis=1)
    nothing = {"keypoints": [], "boxes": [], "labels": []}
    truth = [nothing, {"keypoints": [place], "boxes": [[0, 0, 40, 40]], "labels": [0]}]
    found = [nothing | {"scores": []}, {"keypoints": [place], "labels": [0], "scores": [0.5]}]
    del found[0]["boxes"]
    assert jaxmap.evaluate(found, truth, protocol="coco-keypoints").summary["AP"] == pytest.approx(1)
    found[0] = {"keypoints": [place[:5]], "labels": [0], "scores": [0.5]}
    with pytest.raises(ValueError, match=r"`detections\[1\]\['keypoints'\]` must have the last axes .* \[5, 3\]"):
        jaxmap.evaluate(found, truth, protocol="coco-keypoints")


def test_areas_that_crowdposes_files_leave_out_are_a_share_of_the_box() -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 10], "keypoints": [1.0, 2.0, 2] * 17}
    file = {"images": [{"id": 1, "crowdIndex": 0.1}], "categories": [{"id": 1}], "annotations": [row]}
    assert io.coco_ground_truths(file, iou_type="keypoints").area.tolist() == [0.53 * 200]
    row["area"] = 150
    assert io.coco_ground_truths(file, iou_type="keypoints").area.tolist() == [150]
