"""KITTI's difficulties: its files to numbers, against a plain definition that follows the devkit."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from support.command import numbers
from support.plain_kitti import LIMITS, at_41_scores, at_every_score

Images = list[list[dict[str, Any]]]
THRESHOLDS = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
TYPES = ["Car", "Pedestrian", "Cyclist", "Van", "Person_sitting", "Truck", "DontCare"]


def street(seed: int, num_images: int = 25, *, apart: bool) -> tuple[Images, Images]:
    """Objects of all types and sizes, apart from each other or not, with several detections of each."""
    rng = np.random.default_rng(seed)
    found, real = [], []
    scores = iter(((rng.permutation(400 * num_images) + 1) / (400 * num_images)).tolist())
    for _ in range(num_images):
        objects, detections = [], []
        for place in range(int(rng.integers(3, 12))):
            kind = TYPES[rng.choice(len(TYPES), p=[0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.1])]
            start = np.array([place * 120.0, 0.0]) if apart else rng.uniform(0, 250, 2)
            size = rng.uniform(16, 80, 2) if kind != "DontCare" else np.array([100.0, 60.0])
            box = np.concatenate([start, start + size]).round(2)
            occluded = int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.15, 0.05]))
            truncated = round(float(rng.choice([0, rng.random()], p=[0.7, 0.3])), 2)
            outside = {"occluded": -1, "truncated": -1.0} if kind == "DontCare" else {}
            objects.append({"type": kind, "box": box, "occluded": occluded, "truncated": truncated} | outside)
            label = {"Van": "Car", "Person_sitting": "Pedestrian", "DontCare": "Car"}.get(kind, kind)
            for _ in range(int(rng.integers(0, 4))):
                moved = box + rng.normal(0, 2.0, 4)
                if kind == "DontCare":
                    moved = np.concatenate([start, start + rng.uniform(20, 45, 2)]) + 5
                detections.append({"type": label, "box": moved.round(2), "score": next(scores)})
        for _ in range(2):  # false
            start = np.array([rng.uniform(0, 1400), 200.0 if apart else 100.0])
            box = np.concatenate([start, start + rng.uniform(20, 60, 2)]).round(2)
            detections.append({"type": "Car", "box": box, "score": next(scores) / 2})
        found.append(detections)
        real.append(objects)
    return found, real


def write(folder: pathlib.Path, found: Images, real: Images) -> tuple[str, str]:
    for name, images in (("label_2", real), ("data", found)):
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(images):
            lines = []
            for one in image:
                state = f"{one.get('truncated', -1)} {one.get('occluded', -1)} -10"
                corners = " ".join(map(str, one["box"].tolist()))
                score = f" {one['score']!r}" if "score" in one else ""
                lines.append(f"{one['type']} {state} {corners} -1 -1 -1 -1000 -1000 -1000 -10{score}\n")
            (folder / name / f"{index:06d}.txt").write_text("".join(lines))
    return str(folder / "label_2"), str(folder / "data")


def summary_of(gt: str, dt: str, difficulty: str) -> dict[str, float]:
    truth = io.read_kitti_ground_truths(gt, difficulty=difficulty)
    found = io.read_kitti_detections(dt, truth, difficulty=difficulty)
    return jaxmap.evaluate(found, truth, protocol="kitti").summary


def test_objects_apart_equal_the_plain_definition(tmp_path: pathlib.Path) -> None:
    seen = set()
    for seed in range(3):
        found, real = street(seed, apart=True)
        gt, dt = write(tmp_path / str(seed), found, real)
        for difficulty in LIMITS:
            summary = summary_of(gt, dt, difficulty)
            for label, threshold in THRESHOLDS.items():
                ours = summary[f"AP{threshold * 100:.0f}_{label}"]
                plain = at_every_score(found, real, label, difficulty, threshold)
                assert ours == pytest.approx(plain, rel=0, abs=1e-12), (seed, difficulty, label)
                seen.add(ours)
    assert len(seen) > 20  # the difficulties and classes differ


def test_crowded_streets_are_near_the_devkit(tmp_path: pathlib.Path) -> None:
    found, real = street(0, 80, apart=False)
    gt, dt = write(tmp_path, found, real)
    for difficulty in ("moderate", "hard"):
        devkit = at_41_scores(found, real, "Car", difficulty, 0.7)
        assert 0.2 < devkit == pytest.approx(summary_of(gt, dt, difficulty)["AP70_Car"], abs=0.015)


def test_the_command_reads_difficulties(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    gt, dt = write(tmp_path, *street(0, apart=True))
    expected = summary_of(gt, dt, "moderate")
    ours = numbers(capsys, gt, dt, "--protocol", "kitti", "--difficulty", "moderate")
    assert {name: ours[name] for name in expected} == expected
    assert main(["eval", gt, dt, "--protocol", "kitti"]) == 2
    assert "--protocol kitti needs --difficulty easy, moderate or hard" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"`difficulty` must be one of \['easy', 'moderate', 'hard'\], got 'Easy'"):
        io.read_kitti_ground_truths(gt, difficulty="Easy")
