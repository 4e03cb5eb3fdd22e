"""COCO's panoptic files: real images against a plain reference and live hotcoco, and one test for every error."""

from __future__ import annotations

import gzip
import json
import pathlib
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap.io import CocoPanoptic, read_coco_panoptic_ground_truths, read_coco_panoptic_predictions
from support.panoptic_files import write_panoptic, write_png
from support.panoptic_scenes import plain_counts, plain_images

DOG, PERSON, TREE = 18, 1, 184
BIG = 200 + 256 * 3 + 65536 * 7  # an id that needs all three colours
Content = dict[Any, tuple[Any, list[dict[str, Any]]]]


def truth_images() -> Content:
    return {
        7: ([[BIG, BIG, 5], [0, 9, 9]], [segment(BIG, DOG), segment(9, TREE), segment(5, PERSON, iscrowd=1)]),
        "3": ([[1, 1]], [segment(1, PERSON)]),
    }


def predicted_images() -> Content:
    return {
        3: ([[0, 6]], [segment(6, PERSON)]),
        7: ([[BIG, BIG, 5], [4, 9, 4]], [segment(4, TREE), segment(5, PERSON), segment(9, TREE), segment(BIG, DOG)]),
    }


def segment(segment_id: int, category_id: int, **fields: Any) -> dict[str, Any]:
    return {"id": segment_id, "category_id": category_id, "iscrowd": 0} | fields


def score(folder: pathlib.Path, truth: Content, predicted: Content) -> jaxmap.PanopticEvaluation:
    truths = read_coco_panoptic_ground_truths(write_panoptic(folder / "gt.json", truth))
    return jaxmap.panoptic_quality(
        read_coco_panoptic_predictions(write_panoptic(folder / "dt.json", predicted), truths), truths
    )


def test_files_become_images_in_the_order_of_the_ground_truths(tmp_path: pathlib.Path) -> None:
    truths = read_coco_panoptic_ground_truths(write_panoptic(tmp_path / "gt.json", truth_images()))
    found = read_coco_panoptic_predictions(write_panoptic(tmp_path / "dt.json", predicted_images()), truths)
    assert truths.image_ids.tolist() == found.image_ids.tolist() == [7, 3]
    assert truths.class_ids.tolist() == [PERSON, DOG, TREE]
    assert (truths.class_names, truths.things) == (("person", "dog", "tree"), (0, 1))
    assert truths[0]["segments"].tolist() == [[BIG, BIG, 5], [0, 9, 9]]
    assert truths[0]["ids"].tolist() == [BIG, 9, 5]
    assert truths[0]["labels"].tolist() == [1, 2, 0]
    assert truths[0]["crowd"].tolist() == [False, False, True]
    assert [len(one["ids"]) for one in found[:]] == [len(one["ids"]) for one in found] == [4, 1]
    evaluation = jaxmap.panoptic_quality(found, truths)
    # The dog is found. Of the person's two pixels one is, which is no match, and the other image's lies on a crowd. The
    # tree has one pixel of its two in 9; 4 lies on void by one half.
    assert evaluation.per_class()["true_positives"] == [0, 1, 0]
    assert evaluation.per_class()["false_positives"] == [1, 0, 2]
    assert evaluation.per_class()["false_negatives"] == [1, 0, 1]
    assert evaluation.summary["PQ_th"] == 0.5
    assert evaluation.summary["PQ_st"] == 0
    assert str(evaluation) == (
        "          |    PQ     SQ     RQ     N\n"
        "--------------------------------------\n"
        "All       |  33.3   33.3   33.3     3\n"
        "Things    |  50.0   50.0   50.0     2\n"
        "Stuff     |   0.0    0.0    0.0     1"
    )
    assert json.loads(evaluation.to_json()) == evaluation.summary


def test_things_of_a_file_that_says_of_none_are_unknown(tmp_path: pathlib.Path) -> None:
    categories = [{"id": 1}, {"id": 18}, {"id": 184}]
    truths = read_coco_panoptic_ground_truths(
        write_panoptic(tmp_path / "gt.json", truth_images(), categories=categories)
    )
    assert (truths.things, truths.class_names) == (None, ("1", "18", "184"))
    evaluation = jaxmap.panoptic_quality(truths, truths)
    numbers = json.loads(evaluation.to_json())
    assert (numbers["PQ"], numbers["PQ_th"], numbers["PQ_st"]) == (1, None, None)
    assert "Stuff     |   nan    nan    nan     0" in str(evaluation)


@pytest.fixture(scope="module")
def real(shared_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the JSON of two real images, and that of predictions made from it: moved, merged, lost and mistaken."""
    source = shared_data / "panoptic_sample" / "panoptic_examples.json.gz"
    folder = tmp_path_factory.mktemp("panoptic")
    content = json.loads(gzip.decompress(source.read_bytes()))
    truths = read_coco_panoptic_ground_truths(source)
    images = {}
    for image, annotation in zip(truths, content["annotations"], strict=True):
        rows = [row for row in annotation["segments_info"] if not row["iscrowd"]]
        lost, kept = rows[::7], [row for row in rows if row not in rows[::7]]
        segments = np.roll(image["segments"], (3, 4), axis=(0, 1))
        segments[np.isin(segments, [row["id"] for row in lost])] = kept[-1]["id"]  # merged into another
        segments[np.roll(image["segments"], (1, 2), axis=(0, 1)) == 0] = kept[0]["id"]  # over void
        crowds = [row["id"] for row in annotation["segments_info"] if row["iscrowd"]]
        segments[np.isin(segments, crowds)] = kept[1]["id"]
        mistaken = [row | {"category_id": 3} if index % 5 == 3 else row for index, row in enumerate(kept)]
        present = set(np.unique(segments).tolist())
        images[annotation["image_id"]] = segments, [row for row in mistaken if row["id"] in present]
    write_panoptic(folder / "dt.json", images)
    return source, folder / "dt.json"


def test_real_truth_against_itself_is_perfect(real: tuple[pathlib.Path, pathlib.Path]) -> None:
    truths = read_coco_panoptic_ground_truths(real[0])
    evaluation = jaxmap.panoptic_quality(truths, truths)
    assert evaluation.summary == dict.fromkeys(evaluation.summary, 1.0)
    assert evaluation.true_positives.sum() == 18 + 32 - 3  # the files list three crowds
    assert evaluation.false_positives.sum() == evaluation.false_negatives.sum() == 0
    assert len(evaluation.things or ()) == 80
    assert len(evaluation.class_ids) == 133


def test_real_images_equal_the_plain_reference(real: tuple[pathlib.Path, pathlib.Path]) -> None:
    truths = read_coco_panoptic_ground_truths(real[0])
    found = read_coco_panoptic_predictions(real[1], truths)
    evaluation = jaxmap.panoptic_quality(found, truths)
    assert min(evaluation.true_positives.sum(), evaluation.false_positives.sum()) > 9
    plain = plain_counts(plain_images(list(found), list(truths)))
    for label in range(len(truths.class_ids)):
        expected = plain[label]
        got = evaluation.true_positives[label], evaluation.false_positives[label], evaluation.false_negatives[label]
        assert got == (expected.true_positives, expected.false_positives, expected.false_negatives)
        assert evaluation.iou_sum[label] == pytest.approx(float(expected.iou_sum), rel=0, abs=1e-12)


def test_real_images_equal_hotcoco(real: tuple[pathlib.Path, pathlib.Path]) -> None:
    panoptic = pytest.importorskip("hotcoco.panoptic")
    truths = read_coco_panoptic_ground_truths(real[0])
    evaluation = jaxmap.panoptic_quality(read_coco_panoptic_predictions(real[1], truths), truths)
    unpacked = real[1].with_name("gt.json")
    unpacked.write_bytes(gzip.decompress(real[0].read_bytes()))
    other = panoptic.PanopticEval(str(unpacked), str(real[1]), gt_folder=str(truths.folder))
    other.evaluate()
    for group, suffix in {"All": "", "Things": "_th", "Stuff": "_st"}.items():
        for name in ("PQ", "SQ", "RQ"):
            number = other.results()[group][name.lower()]
            assert evaluation.summary[name + suffix] == pytest.approx(number, rel=0, abs=1e-12), (group, name)


@pytest.mark.parametrize(
    ("side", "change", "message"),
    [
        ("gt", lambda images: images[7][1].pop(0), r"gt/7.png: `segments_info` does not list segments .*: 459720\."),
        ("dt", lambda images: images[7][1].pop(0), r"dt/7.png: `segments_info` does not list segments .*: 4\."),
        ("gt", lambda images: images[7][1].append(segment(8, DOG)), r"image 7: .* without pixels in .*: 8\."),
        ("dt", lambda images: images[3][1].append(segment(8, DOG)), r"dt.json: image 3: .* without pixels in .*: 8\."),
        ("gt", lambda images: images[7][1].append(segment(0, DOG)), "has the id 0, which is reserved for void pixels"),
        ("gt", lambda images: images[7][1].append(images[7][1][0]), "image 7: .* `ids` must be distinct, got 459720"),
        ("dt", lambda images: images[3][1][0].update(category_id=2), r"image 3: .* do not list: 2\."),
        ("dt", lambda images: images[3][1][0].update(category_id="dog"), r"image 3: .* do not list: 'dog'\."),
        ("dt", lambda images: images[3][1][0].update(id="x"), r"image 3: `segments_info\[0\].id` must be an integer"),
        ("dt", lambda images: images.update({3: ([[0], [6]], images[3][1])}), r"image 3: .* \[1, 2\], got \[2, 1\]"),
        ("dt", lambda images: images.pop(3), "1 of 2 images have no prediction: 3; an image without"),
        ("gt", lambda images: images.update({"7": images[7]}), "`annotations` must have distinct `image_id`s, .*: 7"),
    ],
)  # fmt: skip
def test_files_that_disagree_are_refused(
    tmp_path: pathlib.Path, side: str, change: Callable[[Content], Any], message: str
) -> None:
    truth, predicted = truth_images(), predicted_images()
    change(truth if side == "gt" else predicted)
    with pytest.raises(ValueError, match=message):
        score(tmp_path, truth, predicted)


def test_predictions_of_other_images_are_left_out_with_a_warning(tmp_path: pathlib.Path) -> None:
    predicted = predicted_images() | {4: ([[0]], [])}
    with pytest.warns(UserWarning, match="ignored 1 `annotations` of images that the ground truths do not list: 4"):
        evaluation = score(tmp_path, truth_images(), predicted)
    assert evaluation.summary == score(tmp_path, truth_images(), predicted_images()).summary


def test_one_odd_image_id_leaves_the_others_what_they_are(tmp_path: pathlib.Path) -> None:
    predicted = predicted_images() | {"front": ([[0]], [])}
    with pytest.warns(UserWarning, match="ignored 1 `annotations` of images .* do not list: 'front'"):
        evaluation = score(tmp_path, truth_images(), predicted)
    assert evaluation.summary == score(tmp_path, truth_images(), predicted_images()).summary


def read(tmp_path: pathlib.Path, **content: Any) -> CocoPanoptic:
    return read_coco_panoptic_ground_truths(write_panoptic(tmp_path / "gt.json", truth_images(), **content))


def test_a_file_of_another_form_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="`annotations` must be a list of objects, got a dict"):
        read(tmp_path, annotations={})
    with pytest.raises(ValueError, match=r"`annotations\[0\]` has no `file_name`"):
        read(tmp_path, annotations=[{"image_id": 1}])
    with pytest.raises(ValueError, match="`segments_info` must be a list of objects, got only"):
        read(tmp_path, annotations=[{"image_id": 1, "file_name": "7.png"}])[0]
    with pytest.raises(ValueError, match=r"`categories` must have distinct `id`s, .*: 1\."):
        read(tmp_path, categories=[{"id": 1}, {"id": 1}])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="must be an object with `annotations`, got a list"):
        read_coco_panoptic_ground_truths(tmp_path / "list.json")


def test_a_folder_is_found_or_named(tmp_path: pathlib.Path) -> None:
    path = write_panoptic(tmp_path / "gt.json", truth_images())
    (tmp_path / "gt").rename(tmp_path / "png")
    with pytest.raises(FileNotFoundError, match="name the one with the PNG files"):
        read_coco_panoptic_ground_truths(path)
    truths = read_coco_panoptic_ground_truths(path, folder=tmp_path / "png")
    assert truths[1]["segments"].tolist() == [[1, 1]]
    (tmp_path / "png" / "3.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"3\.png"):
        truths[1]


def test_a_damaged_png_is_refused(tmp_path: pathlib.Path) -> None:
    truths = read(tmp_path)
    path = tmp_path / "gt" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"3\.png: not a PNG file of segment ids \("):
        truths[1]
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"3\.png: not a PNG file of segment ids \(it does not begin like a PNG file"):
        truths[1]
    from PIL import Image

    Image.new("L", (2, 1)).save(path)
    with pytest.raises(ValueError, match=r"its pixels must be red, green and blue, got mode 'L'"):
        truths[1]
    write_png(path, [[1, 1]])
    assert truths[1]["ids"].tolist() == [1]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, bits: int = 8) -> bytes:
    """Returns a PNG file that claims a size and has the pixels of a smaller one."""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\1\0\0\1\0\0\1\0\0\1\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, *zip(*chunks, strict=True)))


@pytest.mark.parametrize(
    "name",
    ["../3.png", "/etc/passwd", "a/../../3.png", "..\\3.png", "C:\\3.png", "", "..", ".", None, 3, "a\nb", "x" * 9999],
)
def test_a_file_name_may_not_leave_its_folder(tmp_path: pathlib.Path, name: object) -> None:
    write_png(tmp_path / "3.png", [[1, 1]])
    annotations = [{"image_id": 3, "file_name": "3.png"}, {"image_id": 7, "file_name": name}]
    with pytest.raises(ValueError, match=r"`annotations\[1\]\.file_name` must be a file inside the folder .*, got "):
        read(tmp_path, annotations=annotations)


def test_a_file_name_may_lead_into_the_folder_and_through_its_links(tmp_path: pathlib.Path) -> None:
    rows = [segment(1, PERSON)]
    annotations = [{"image_id": i, "file_name": f"{name}/3.png", "segments_info": rows} for i, name in enumerate("ab")]
    (tmp_path / "gt" / "a").mkdir(parents=True)
    write_png(tmp_path / "gt" / "a" / "3.png", [[1, 1]])
    (tmp_path / "gt" / "b").symlink_to(tmp_path / "gt" / "a")
    assert [image["ids"].tolist() for image in read(tmp_path, annotations=annotations)] == [[1], [1]]


def test_a_png_cut_anywhere_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    truths = read(tmp_path)
    path = tmp_path / "gt" / "3.png"
    content = path.read_bytes()
    for tolerant in (False, True):  # training code often sets this for its own pictures
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
        for length in range(len(content) - 4):  # the last four are the sum of nothing
            path.write_bytes(content[:length])
            with pytest.raises(ValueError, match=r"3\.png: not a PNG file of segment ids"):
                truths[1]
    damaged = bytearray(content)
    damaged[content.index(b"IDAT") + 6] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"3\.png: not a PNG file of segment ids"):
        truths[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png_of(60_000, 60_000), r"60000 x 60000 pixels, more than the 89478485 that Pillow opens; .* raise PIL"),
        (png_of(16_000, 10_000), "10000 x 16000 pixels, more than"),
        (png_of(2**31, 2**31), "pixels, more than"),
        (png_of(0, 0), "not a PNG file of segment ids"),
        (png_of(2, 1, bits=16), "its colours must have 8 bits, got 16"),
        (png_of(2, 1)[:30], "not a PNG file of segment ids"),
        (png_of(2, 1)[:33] + chunk(b"IEND", b""), "not a PNG file of segment ids"),
    ],
)  # fmt: skip
def test_an_odd_png_is_refused(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    truths = read(tmp_path)
    (tmp_path / "gt" / "3.png").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        truths[1]


def test_a_png_of_another_size_than_the_file_says_is_refused(tmp_path: pathlib.Path) -> None:
    sizes = [{"id": 3, "height": 1, "width": 2}, {"id": 7, "height": 3, "width": 2}, {"id": 8}]
    path = pathlib.Path(write_panoptic(tmp_path / "gt.json", truth_images()))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images": sizes}))
    truths = read_coco_panoptic_ground_truths(path)
    assert truths[1]["segments"].shape == (1, 2)
    with pytest.raises(ValueError, match=r"7\.png: .* height and width are 2 and 3, but the JSON file says 3 and 2"):
        truths[0]


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "LA", "1"])
def test_a_png_without_colours_is_refused(tmp_path: pathlib.Path, mode: str) -> None:
    from PIL import Image

    truths = read(tmp_path)
    Image.new(mode, (2, 1)).save(tmp_path / "gt" / "3.png")
    with pytest.raises(ValueError, match=r"its pixels must be red, green and blue|its colours must have 8 bits"):
        truths[1]


@pytest.mark.parametrize("segment_id", [-1, 1 << 24, 1 << 40])
def test_an_id_that_no_colour_stands_for_is_refused(tmp_path: pathlib.Path, segment_id: int) -> None:
    images = truth_images()
    images["3"][1].append(segment(segment_id, PERSON))
    truths = read_coco_panoptic_ground_truths(write_panoptic(tmp_path / "gt.json", images))
    with pytest.raises(ValueError, match=f"image 3: `segments_info` has ids that are not colours, .*: {segment_id}"):
        truths[1]


def test_pixels_are_read_in_pieces(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(tmp_path)[0]["segments"]
    monkeypatch.setattr("jaxmap.io._panoptic._PIXELS_AT_ONCE", 1)
    assert np.array_equal(read(tmp_path)[0]["segments"], whole)


def test_without_pillow_the_error_says_what_to_install(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truths = read(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "jaxmap\[panoptic\]"'):
        truths[0]
