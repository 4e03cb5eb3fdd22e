"""Pictures of the worst images and the most costly errors: from inside the folder only, bounded, and drawn right."""

from __future__ import annotations

import base64
import dataclasses
import io
import os
import pathlib
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

import jaxmap
from jaxmap._cli import main
from jaxmap.report import report_page
from jaxmap.report._thumbnails import DETECTION_COLOUR, GROUND_TRUTH_COLOUR, MOST_BYTES, Photos, thumbnail
from support.page import Page, assert_self_contained

BLUE, ORANGE = (tuple(bytes.fromhex(colour[1:])) for colour in (GROUND_TRUTH_COLOUR, DETECTION_COLOUR))


def scene(num_images: int = 3, **shapes: Any) -> jaxmap.Evaluation:
    """Returns images of 100 by 80 pixels, each with one object that is found and a false positive that outranks it."""
    truth = {"boxes": [[10.0, 10.0, 40.0, 40.0]], "labels": [0]}
    found = {"boxes": [[10.0, 10.0, 40.0, 40.0], [60.0, 20.0, 90.0, 70.0]], "labels": [0, 0]}
    scores = [{"scores": [0.5, 0.9 - 0.01 * number]} for number in range(num_images)]
    return jaxmap.evaluate([found | one for one in scores], [truth] * num_images, **shapes)


def save(path: pathlib.Path, size: tuple[int, int] = (100, 80), **options: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", size, "#404040").save(path, **options)


def named(evaluation: jaxmap.Evaluation, files: list[str | None]) -> jaxmap.Evaluation:
    """Returns the evaluation with file names of the images."""
    matched = evaluation.matched
    assert matched is not None
    truths = dataclasses.replace(matched.ground_truths, image_files=np.array(files, object))
    return dataclasses.replace(evaluation, matched=dataclasses.replace(matched, ground_truths=truths))


def pictures(text: str) -> dict[str, Image.Image]:
    """Returns the pictures of a page by the id of their figure."""
    sources = re.findall(r'<figure id="([^"]*)"><img src="data:image/jpeg;base64,([^"]*)"', text)
    return {name: Image.open(io.BytesIO(base64.b64decode(data))) for name, data in sources}


def near(image: Image.Image, place: tuple[float, float], colour: tuple[int, ...]) -> bool:
    """Whether a pixel of a colour is within two pixels of a place."""
    x, y = map(round, place)
    around = np.asarray(image.convert("RGB"), int)[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
    return bool((np.abs(around - colour).max(axis=2) < 60).any())


def test_boxes_are_drawn_where_they_are(tmp_path: pathlib.Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png")
    text = report_page(scene(), images=tmp_path)
    page, drawn = assert_self_contained(text), pictures(text)
    assert set(drawn) == {*(f"picture-{number}" for number in range(3)), *(f"error-{number}" for number in range(3))}
    image = drawn["picture-0"]
    scale = image.width / 100  # small images are enlarged
    assert image.height / 80 == scale
    for place in ((60, 45), (90, 45), (75, 20), (75, 70), (10, 25), (25, 40)):  # on all sides of both detections
        assert near(image, (place[0] * scale, place[1] * scale), ORANGE)
    assert not near(image, (75 * scale, 45 * scale), ORANGE)
    assert "ground truthdetection" in page.text["pictures"]
    assert "image 0: costs " in page.text["pictures"]
    assert "of score 0.9: costs " in page.text["pictures"]
    assert '<a href="#picture-0">0</a>' in text
    assert '<a href="#error-0">1</a>' in text


def test_only_the_false_positive_and_ground_truths_are_drawn_around_it(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "0.png")
    crop = pictures(report_page(scene(1), images=tmp_path))["error-0"]
    box = np.array([60.0, 20.0, 30.0, 50.0])
    assert near(crop, _shown(crop, box, (60, 45)), ORANGE)
    assert near(crop, _shown(crop, box, (40, 25)), BLUE)
    assert not near(crop, _shown(crop, box, (40, 25)), ORANGE)


def test_masks_are_drawn(tmp_path: pathlib.Path) -> None:
    masks = np.zeros((2, 80, 100), bool)
    masks[0, 10:40, 10:40] = masks[1, 20:70, 60:90] = True
    truth = {"masks": masks[:1], "labels": [0]}
    found = {"masks": masks, "labels": [0, 0], "scores": [0.5, 0.9]}
    save(tmp_path / "0.jpg")
    crop = pictures(report_page(jaxmap.evaluate([found], [truth], iou_type="segm"), images=tmp_path))["error-0"]
    box = np.array([60.0, 20.0, 30.0, 50.0])
    x, y = map(round, _shown(crop, box, (75, 45)))
    middle = np.asarray(crop.convert("RGB"), int)[y, x]
    expected = np.array(ORANGE) * 0.35 + 0x40 * 0.65
    assert np.abs(middle - expected).max() < 12
    assert near(crop, _shown(crop, box, (60.3, 45)), ORANGE)
    assert near(crop, _shown(crop, box, (39.7, 25)), BLUE)


def test_oriented_boxes_and_keypoints_are_drawn(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "0.png")
    boxes = [[25.0, 25.0, 30.0, 20.0, 0.5], [70.0, 40.0, 30.0, 10.0, np.pi / 4]]
    found = {"boxes": boxes, "labels": [0, 0], "scores": [0.5, 0.9]}
    truth = {"boxes": boxes[:1], "labels": [0]}
    oriented = jaxmap.evaluate([found], [truth], iou_type="obb")
    crop = pictures(report_page(oriented, images=tmp_path))["error-0"]
    matched = oriented.matched
    assert matched is not None
    assert near(crop, _shown(crop, matched.detections.boxes[0], (70 + 15 / 2**0.5, 40 + 15 / 2**0.5)), ORANGE)
    points = np.array([[[20.0 + k, 20.0 + k, 2.0] for k in range(17)], [[70.0, 30.0 + 2 * k, 2.0] for k in range(17)]])
    truth = {"keypoints": points[:1], "boxes": [[10.0, 10.0, 30.0, 30.0]], "labels": [0], "area": [900.0]}
    found = {"keypoints": points, "labels": [0, 0], "scores": [0.5, 0.9]}
    evaluation = jaxmap.evaluate([found], [truth], iou_type="keypoints")
    assert "error-0" in pictures(report_page(evaluation, images=tmp_path))


def _shown(crop: Image.Image, box: np.ndarray, point: tuple[float, float]) -> tuple[float, float]:
    """Returns where a point of an image of 100 by 80 is in the picture around a box."""
    # The box is in the middle of a part three times as wide as its longer side, cut at the edges of the image.
    centre, half = box[:2] + box[2:] / 2, min(max(box[2:].max() * 3, 96), 100) / 2
    low, high = np.clip([centre - half, centre + half], 0, [100, 80])
    x, y = (np.array(point) - low) / (high - low) * crop.size
    return float(x), float(y)


def test_pictures_have_a_bounded_size_and_number(tmp_path: pathlib.Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 1000, 3), np.uint8)
    for number in range(30):
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg")
    text = report_page(scene(30), images=tmp_path)
    assert len(pictures(text)) == 18
    assert max(map(len, re.findall(r"base64,([^\"]*)\"", text))) <= MOST_BYTES * 4 / 3 + 4
    assert max(max(image.size) for image in pictures(text).values()) <= 480


def test_paths_do_not_leave_the_folder(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "secret.png")
    folder = tmp_path / "images"
    save(folder / "sub" / "inside.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    files = [
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "sub/inside.png",
        "sub/../../secret.png",
        "a\0b",
    ]
    text = report_page(named(scene(6), files), images=folder)
    assert {name for name in pictures(text) if name.startswith("picture")} == {"picture-3"}
    note = Page(text).text["pictures"]
    assert "5 of 6 images cannot be shown: " in note
    assert "../secret.png is outside the folder" in note
    assert "link.png is outside the folder" in note


def test_names_with_another_folder_are_found_by_their_last_part(tmp_path: pathlib.Path) -> None:
    save(tmp_path / "7.png")
    text = report_page(named(scene(1), ["/data/set/7.png"]), images=tmp_path)
    assert "picture-0" in pictures(text)


def test_missing_and_damaged_images_are_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "0.png").write_bytes(b"no image")
    (tmp_path / "1.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    text = report_page(scene(3), images=tmp_path)
    assert pictures(text) == {}
    note = assert_self_contained(text).text["pictures"]
    assert "3 of 3 images cannot be shown: 0.png cannot be read (UnidentifiedImageError)" in note
    assert "1.jpg cannot be read (UnidentifiedImageError)" in note
    assert "2 is not in the folder" in note
    assert "#picture-" not in text


def test_boxes_follow_the_size_and_orientation_of_the_file(tmp_path: pathlib.Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    save(tmp_path / "0.jpg", (80, 100), exif=exif)
    matched = scene(1).matched
    assert matched is not None
    photo = Photos(tmp_path, matched.ground_truths).open(0)
    assert not isinstance(photo, str)
    assert photo.pixels.size == (100, 80)
    twice = dataclasses.replace(matched.ground_truths, image_sizes=np.array([[40, 50]]))
    photo = Photos(tmp_path, twice).open(0)
    assert not isinstance(photo, str)
    assert photo.scale == (2.0, 2.0)
    assert thumbnail(photo, matched, np.array([0]), np.array([0])).startswith("data:image/jpeg;base64,")


def test_nothing_to_show_is_said(tmp_path: pathlib.Path) -> None:
    one = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    right = jaxmap.evaluate([one | {"scores": [0.5]}], [one])
    assert "No AP is lost" in Page(report_page(right, images=tmp_path)).text["pictures"]
    empty = jaxmap.evaluate([nothing | {"scores": np.zeros(0)}], [nothing])
    assert "No image has counted ground truth" in Page(report_page(empty, images=tmp_path)).text["pictures"]
    with pytest.raises(ValueError, match="must be a folder of images"):
        report_page(scene(1), images=tmp_path / "none")


def test_command_takes_the_folder(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = os.fspath(tmp_path / "page")
    assert main(["report", "--demo", "-o", target, "--images", os.fspath(tmp_path / "none")]) == 2
    assert "--images must be a folder of images" in capsys.readouterr().err
    assert main(["report", "--demo", "-o", target, "--images", os.fspath(tmp_path)]) == 0
    capsys.readouterr()
    written = Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert "images cannot be shown: " in written.text["pictures"]
