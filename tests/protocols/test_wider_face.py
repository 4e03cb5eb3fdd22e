"""WIDER FACE's sets easy, medium and hard: its files to numbers, against a plain definition."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from support.command import numbers
from support.plain_wider_face import wider_face

scipy_io = pytest.importorskip("scipy.io", reason="the lists of faces are .mat files")
Images = list[dict[str, Any]]


def faces_of(seed: int, num_images: int = 40) -> tuple[Images, Images]:
    rng = np.random.default_rng(seed)
    found, real = [], []
    for _ in range(num_images):
        count = int(rng.integers(1, 12))
        boxes = np.concatenate([rng.integers(0, 400, (count, 2)), rng.integers(4, 60, (count, 2))], axis=1)
        near = np.repeat(boxes, 2, axis=0) + rng.integers(-3, 4, (2 * count, 4))
        stray = np.concatenate([rng.integers(0, 400, (4, 2)), rng.integers(4, 60, (4, 2))], axis=1)
        scores = np.concatenate([rng.beta(3, 2, 2 * count), rng.beta(1, 4, 4)]).round(6)
        all_found = np.maximum(np.concatenate([near, stray]), [-9, -9, 1, 1])
        kept = rng.random(len(scores)) < 0.7
        found.append({"boxes": all_found[kept].astype(float), "scores": scores[kept]})
        real.append({"boxes": boxes.astype(float), "ignore": rng.random(count) < 0.4})
    return found, real


def write(folder: pathlib.Path, found: Images, real: Images) -> tuple[str, str, str]:
    """Writes the files of the benchmark, images in two events: annotations, a set, and detections."""
    names = [f"{index % 2}_Event_{index}" for index in range(len(real))]
    lines, events = [], {"0--Zero": [], "1--One": []}  # type: ignore[var-annotated]
    for index, (name, image) in enumerate(zip(names, real, strict=True)):
        event = list(events)[index % 2]
        events[event].append(index)
        lines += [f"{event}/{name}.jpg", str(len(image["boxes"]))]
        lines += [f"{' '.join(map(str, box.astype(int)))} 0 0 0 1 0 0 " for box in image["boxes"]]  # all are invalid
        rows = [f"{' '.join(map(str, box))} {score}" for box, score in zip(*found[index].values(), strict=True)]
        (folder / "pred" / event).mkdir(parents=True, exist_ok=True)
        (folder / "pred" / event / f"{name}.txt").write_text("\n".join([name, str(len(rows)), *rows, ""]))
    (folder / "wider_face_val_bbx_gt.txt").write_text("\n".join([*lines, ""]))
    cells = {
        "event_list": cell(list(events)),
        "file_list": cell([cell([names[index] for index in of_event]) for of_event in events.values()]),
        "gt_list": cell([cell([kept(real[index]) for index in of_event]) for of_event in events.values()]),
    }
    scipy_io.savemat(folder / "wider_easy_val.mat", cells)
    return tuple(str(folder / name) for name in ("wider_face_val_bbx_gt.txt", "wider_easy_val.mat", "pred"))  # type: ignore[return-value]


def kept(image: dict[str, Any]) -> np.ndarray:
    """The numbers of the faces that count, from 1, as a column."""
    return (np.flatnonzero(~image["ignore"]) + 1).astype(np.uint16)[:, None]


def cell(values: list[Any]) -> np.ndarray:
    """A column of cells, as MATLAB's files have them."""
    result = np.empty((len(values), 1), object)
    for row, value in enumerate(values):
        result[row, 0] = value
    return result


def test_a_set_equals_the_plain_definition(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    apart = []
    for seed in range(8):
        found, real = faces_of(seed)
        (tmp_path / str(seed)).mkdir()
        gt, faces, dt = write(tmp_path / str(seed), found, real)
        truth = io.read_wider_face_ground_truths(gt, faces=faces, inclusive=True)
        assert truth.ignore.sum() == sum(image["ignore"].sum() for image in real)
        table = io.read_wider_face_detections(dt, truth, inclusive=True)
        ap = jaxmap.evaluate(table, truth, protocol="wider-face").summary["AP"]
        plain = wider_face(found, real)
        assert ap == pytest.approx(plain.whole, rel=0, abs=1e-12)
        apart.append(ap - plain.ap)
        by_number = {str(name): np.flatnonzero(~image["ignore"]) for name, image in zip(names(real), real, strict=True)}
        same = io.read_wider_face_ground_truths(gt, faces=by_number, inclusive=True)
        np.testing.assert_array_equal(same.ignore, truth.ignore)
    assert 0 <= min(apart) <= max(apart) < 5e-3  # the benchmark reads the curve at 1,000 scores only
    assert numbers(capsys, gt, dt, "--protocol", "wider-face", "--faces", faces)["AP"] == pytest.approx(ap)


def names(real: Images) -> list[str]:
    return [f"{index % 2}_Event_{index}" for index in range(len(real))]


def test_what_does_not_fit_is_named(tmp_path: pathlib.Path) -> None:
    found, real = faces_of(0, num_images=4)
    gt, faces, _ = write(tmp_path, found, real)
    all_faces = {name: [0] for name in names(real)}
    with pytest.raises(ValueError, match="faces: it does not have 1 of 4 images: '1_Event_3'; use the annotations"):
        io.read_wider_face_ground_truths(gt, faces={name: [0] for name in names(real)[:3]})
    with pytest.raises(ValueError, match="faces: the annotations do not have 1 of 5 images: 'other'"):
        io.read_wider_face_ground_truths(gt, faces=all_faces | {"other": [0]})
    with pytest.raises(ValueError, match=r"the faces of '0_Event_2' must be whole numbers from 0 to .*, got 99"):
        io.read_wider_face_ground_truths(gt, faces=all_faces | {"0_Event_2": [99]})
    pathlib.Path(faces).write_bytes(b"MATLAB" * 100)
    with pytest.raises(ValueError, match=r"wider_easy_val\.mat: not a list of faces such as wider_easy_val\.mat"):
        io.read_wider_face_ground_truths(gt, faces=faces)
    scipy_io.savemat(faces, {"file_list": np.zeros(3)})
    with pytest.raises(ValueError, match="not a list of faces such as"):
        io.read_wider_face_ground_truths(gt, faces=faces)
