"""What `jaxmap eval` adds on demand: intervals, slices, groups of classes, influence, and tables of all classes."""

from __future__ import annotations

import csv
import json
import math
import pathlib
from typing import Any

import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from support.command import error_of

NUM_IMAGES = 30


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """Thirty images of one dog each; every third one is found badly. The traffic light is never there."""
    boxes = {image: [10, 10, 20, 20 if image % 3 else 12] for image in range(1, NUM_IMAGES + 1)}
    truth = {
        "images": [{"id": image, "file_name": f"{image:03}.jpg"} for image in boxes],
        "categories": [{"id": 1, "name": "dog, tame"}, {"id": 2, "name": "traffic light"}],
        "annotations": [
            {"id": image, "image_id": image, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400} for image in boxes
        ],
    }
    found = [{"image_id": image, "category_id": 1, "bbox": box, "score": image / 64} for image, box in boxes.items()]
    paths = [tmp_path / "gt.json", tmp_path / "dt.json"]
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return list(map(str, paths))


@pytest.fixture
def images(tmp_path: pathlib.Path) -> str:
    """The weather and the hour of each image, by file name, in another order."""
    path = tmp_path / "images.csv"
    lines = [f"{image:03}.jpg,{'rain' if image % 3 == 0 else 'sun'},{image % 2}" for image in range(NUM_IMAGES, 0, -1)]
    path.write_text("\n".join(["file_name,weather,hour", *lines]))
    return str(path)


def evaluation(files: list[str]) -> jaxmap.Evaluation:
    truth = io.read_coco_ground_truths(files[0])
    return jaxmap.evaluate(io.read_coco_detections(files[1], truth), truth)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["eval", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def content_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run(capsys, *arguments, "--json", "-"))
    return content


def test_intervals_stand_under_the_table_and_in_the_json(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    options = ("--bootstrap", "80", "--seed", "4", "--confidence", "0.9")
    text = run(capsys, *files, *options, "--json", str(out))
    expected = evaluation(files).bootstrap(80, seed=4, confidence=0.9)
    assert text == f"{evaluation(files)}\n\n{expected}\n"
    content = json.loads(out.read_text())
    assert list(content)[:2] == ["AP", "AP50"]
    assert content["bootstrap"] == json.loads(json.dumps(expected.to_dict()))
    assert "1000 replicates of 30 images" in run(capsys, *files, "--bootstrap")
    assert content["bootstrap"] != content_of(capsys, *files, "--bootstrap", "80")["bootstrap"]


def test_groups_of_images_are_drawn(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    groups = tmp_path / "videos.csv"
    groups.write_text("image_id,group\n" + "".join(f"{image},{image % 5}\n" for image in range(1, NUM_IMAGES + 1)))
    content = content_of(capsys, *files, "--bootstrap", "50", "--group", str(groups))
    assert content["bootstrap"]["num_units"] == 5
    by_hand = evaluation(files).bootstrap(50, unit={image: image % 5 for image in range(1, NUM_IMAGES + 1)})
    assert content["bootstrap"] == json.loads(json.dumps(by_hand.to_dict()))


def test_slices_are_printed_and_have_intervals_only_on_demand(
    capsys: pytest.CaptureFixture[str], files: list[str], images: str, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    text = run(capsys, *files, "--slices", images, "--by", "weather", "--json", str(out)).split("\n\n")[1]
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ["slice", "images", "objects", "AP", "interval"]
    # IoU 0.6 reaches 3 of the 10 thresholds.
    assert rows[2:] == [["weather=rain", "10", "10", "0.300"], ["weather=sun", "20", "20", "1.000"]]
    content = json.loads(out.read_text())
    assert [row["slice"] for row in content["slices"]] == ["all", "weather=rain", "weather=sun"]
    rain = content["slices"][1]
    assert (rain["num_images"], rain["AP"], rain["APl"], rain["low"]) == (10, pytest.approx(0.3), None, None)
    every = content_of(capsys, *files, "--slices", images, "--bootstrap", "50")["slices"]
    assert [row["slice"] for row in every[1:]] == ["weather=rain", "weather=sun", "hour=0", "hour=1"]
    assert all(row["low"] <= row["AP"] <= row["high"] for row in every)


def test_slices_draw_the_groups_of_their_images(
    capsys: pytest.CaptureFixture[str], files: list[str], images: str, tmp_path: pathlib.Path
) -> None:
    groups = tmp_path / "videos.csv"
    groups.write_text("image_id,group\n" + "".join(f"{image},{image % 3}\n" for image in range(1, NUM_IMAGES + 1)))
    drawn = ("--bootstrap", "50", "--group", str(groups))
    content = content_of(capsys, *files, "--slices", images, "--by", "weather,hour", *drawn)
    rows = {row["slice"]: row for row in content["slices"]}
    assert rows["weather=rain"]["low"] is None  # all of its images are in one group
    part = evaluation(files).of_images(evaluation(files).image_ids % 2 == 0)
    by_hand = part.bootstrap(50, unit=(part.image_ids % 3).tolist()).summary["AP"]
    assert (rows["hour=0"]["low"], rows["hour=0"]["high"]) == (by_hand.low, by_hand.high)
    assert rows["hour=0"]["low"] < rows["hour=0"]["high"]


def test_the_table_of_classes_goes_into_json_and_csv(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.csv"
    content = content_of(capsys, *files, "--per-class", "--csv", str(out))
    columns = evaluation(files).per_class()
    dog, light = content["per_class"]
    assert list(dog) == list(columns)
    assert dog == {name: None if values[0] != values[0] else values[0] for name, values in columns.items()}
    assert (light["class_id"], light["num_ground_truths"], light["AP"]) == (2, 0, None)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class_name"] for row in rows] == ["dog, tame", "traffic light"]
    assert float(rows[0]["AP"]) == columns["AP"][0]
    assert (rows[0]["class_id"], rows[0]["num_ground_truths"], rows[1]["AP"]) == ("1", "30", "")
    drawn = content_of(capsys, *files, "--per-class", "--bootstrap", "50")
    of_class = evaluation(files).bootstrap(50).of_class[0]
    assert (drawn["per_class"][0]["AP low"], drawn["per_class"][0]["AP high"]) == (of_class.low, of_class.high)
    head = run(capsys, *files, "--per-class", "--bootstrap", "50").split("\n\n")[-1].splitlines()[0]
    assert head.split()[:8] == ["id", "class", "objects", "AP", "AP", "low", "AP", "high"]


def test_the_table_of_classes_goes_into_other_tools(files: list[str]) -> None:
    columns = evaluation(files).per_class()
    assert {type(values) for values in columns.values()} == {list}
    kinds = [{type(value) for value in values} for values in columns.values()]
    assert kinds == [{int}, {str}, {int}, *[{float}] * 12]
    assert json.loads(json.dumps(columns))["AP"][0] == columns["AP"][0]
    frame = pytest.importorskip("pandas").DataFrame(columns)
    assert frame["AP"][0] == columns["AP"][0]
    assert math.isnan(frame["AP"][1])


def test_influential_images_are_listed(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    lead, head, *rows = run(capsys, *files, "--influence", "3", "--json", str(out)).split("\n\n")[1].splitlines()
    assert lead == "Images with the largest influence: AP minus AP without the image"
    assert head.split() == ["image", "AP"]
    expected = evaluation(files).influence()
    assert [row.split()[0] for row in rows] == [str(image) for image in expected["image_id"][:3]]
    content = json.loads(out.read_text())["influence"]
    assert [row["AP"] for row in content] == expected["AP"][:3].tolist()
    assert list(content[0]) == list(expected)


def test_learning_curves_are_printed_and_written(
    capsys: pytest.CaptureFixture[str], files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(capsys, *files, "--learning-curve", "3,6", "--seed", "5")
    lead, head, *rows = text.split("\n\n")[1].splitlines()
    assert lead == "AP of random samples of the images: mean and range"
    assert head.split() == ["images", "mean", "low", "high"]
    expected = evaluation(files).learning_curve([3, 6], seed=5)
    first = [place for place, name in enumerate(expected["number"]) if name == "AP"]
    assert [row.split()[:2] for row in rows] == [
        [str(expected["num_images"][place]), f"{expected['mean'][place]:.3f}"] for place in first
    ]
    content = content_of(capsys, *files, "--learning-curve", "3,6", "--seed", "5")["learning_curve"]
    assert [row["mean"] for row in content] == [
        None if math.isnan(mean) else mean for mean in expected["mean"].tolist()
    ]
    with monkeypatch.context() as patched:
        patched.setattr(jaxmap._evaluation, "evaluate", None)  # refused before it is called
        assert main(["eval", *files, "--learning-curve", "5,999"]) == 2
        assert "`sizes` must be ascending numbers of images from 2 to" in capsys.readouterr().err
    sizes = {row["num_images"] for row in content_of(capsys, *files, "--learning-curve")["learning_curve"]}
    assert (min(sizes), max(sizes)) == (2, NUM_IMAGES)


def test_groups_of_classes_are_options(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"base": ["dog, tame"], "novel": [2]}))
    content = content_of(capsys, *files, "--class-groups", str(groups))
    assert (content["AP_base"], content["AP_novel"]) == (content["AP"], None)
    table = tmp_path / "groups.csv"
    table.write_text('class,group\n"dog, tame",base\n2,novel\n')
    assert content_of(capsys, *files, "--class-groups", str(table)) == content
    assert "class=  base" in run(capsys, *files, "--class-groups", str(table))
    groups.write_text(json.dumps({"base": ["cow"]}))
    assert "but 'cow' is unknown" in error_of(capsys, "eval", *files, "--class-groups", str(groups))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "weather"], "--by names columns of --slices FILE, which is missing"),
        (["--group", "x.csv"], "--group is for --bootstrap, which is missing"),
        (
            ["--bootstrap", "gt.json"],
            "'gt.json' is not a whole number of at least 2; write --bootstrap after the files",
        ),
        (
            ["--influence", "dt.json"],
            "'dt.json' is not a whole number of at least 1; write --influence after the files",
        ),
        (["--learning-curve", "dt.json"], "'dt.json' is not a list of whole numbers such as 1,10,100; write"),
        (["--learning-curve", "5,999"], "`sizes` must be ascending numbers of images from 2 to"),
        (["--slices", "{images}", "--by", "cloud"], "`by` must name columns of the table, ['weather', 'hour'], got"),
        (["--slices", "nowhere.csv"], "nowhere.csv: No such file or directory"),
        (["--class-groups", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["--csv", "{images}", "--slices", "{images}"], "would overwrite an input file"),
    ],
)
def test_bad_options_are_one_line(
    capsys: pytest.CaptureFixture[str], files: list[str], images: str, options: list[str], message: str
) -> None:
    assert message in error_of(capsys, "eval", *files, *(option.format(images=images) for option in options))
