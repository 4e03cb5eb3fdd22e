"""`jaxmap compare`: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from jaxmap.analysis import sequential_comparison
from support.command import error_of

FEW = ("--replicates", "50")
NUM_IMAGES = 12


def results(shift: float) -> list[dict[str, Any]]:
    """Returns one detection for each object, moved by some pixels; of the last image none."""
    return [
        {"image_id": image, "category_id": 1 + image % 2, "bbox": [10 + shift, 10, 20, 20], "score": 0.9 - image / 100}
        for image in range(1, NUM_IMAGES)
    ]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> list[str]:
    """Ground truths, exact detections, and detections that only reach low thresholds."""
    annotations = [
        {"id": image, "image_id": image, "category_id": 1 + image % 2, "bbox": [10, 10, 20, 20], "area": 400}
        for image in range(1, NUM_IMAGES + 1)
    ]
    truth = {
        "images": [{"id": image, "file_name": f"{image}.jpg"} for image in range(1, NUM_IMAGES + 1)],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "traffic light"}],
        "annotations": annotations,
    }
    paths = [tmp_path / name for name in ("gt.json", "sharp.json", "blunt.v2.json")]
    for path, content in zip(paths, (truth, results(0), results(5)), strict=True):
        path.write_text(json.dumps(content))
    return list(map(str, paths))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["compare", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_table_says_who_is_better_and_where(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    text = run(capsys, *files, *FEW)
    table, images = text.split("\n\n")
    assert table.startswith("blunt.v2 minus sharp: 95% intervals (BCa), 50 paired replicates\n AP       ")
    assert " images: 0 better, 11 worse, 1 the same" in table
    assert " classes: 0 better, 2 worse, 0 the same" in table
    assert " objects at IoU 0.50: 0 better, 0 worse, 12 the same" in table
    assert "* the interval excludes zero" in table
    lead, head, *rows = images.splitlines()
    assert lead == "Images that decide the difference in AP: how much each adds to it, and its own AP"
    assert head.split() == ["model", "image", "adds", "AP", "of", "sharp", "AP", "of", "model"]
    assert len(rows) == 10
    assert len(run(capsys, *files, *FEW, "--top", "3").split("\n\n")[1].splitlines()) == 5
    assert "\n\n" not in run(capsys, *files, *FEW, "--top", "0")


def test_json_has_everything_and_equals_the_function(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    options = ["--names", "a,b", "--replicates", "60", "--seed", "3", "--confidence", "0.9", "--looks", "2"]
    options += ["--top", "4"]
    run(capsys, *files, *options, "--no-permutation", "--json", str(out))
    truth = io.read_coco_ground_truths(files[0])
    one, other = (jaxmap.evaluate(io.read_coco_detections(path, truth), truth) for path in files[1:])
    expected = jaxmap.compare(
        one, other, names=["a", "b"], num_replicates=60, seed=3, confidence=0.9, num_looks=2, permutation=False
    )
    content = json.loads(out.read_text())
    assert content == expected.to_dict(4)
    assert {row["p_permutation"] for row in content["summary"]} == {None}
    assert [row["class_name"] for row in content["per_class"]] == ["dog", "traffic light"]
    assert len(content["images"]) == 4
    assert json.loads(run(capsys, *files, *options, "--no-permutation", "--json", "-")) == content


def test_every_further_detector_is_compared_with_the_first(
    capsys: pytest.CaptureFixture[str], files: list[str]
) -> None:
    text = run(capsys, *files, files[1], *FEW, "--names", "x,y,z", "--per-class")
    parts = text.split("\n\n")
    assert parts[0].startswith("y minus x:")
    assert parts[1].startswith("z minus x:")
    assert " +0.0000 [+0.0000, +0.0000], p = 1\n" in parts[1]
    lead, head, *rows = parts[-1].splitlines()
    assert "0.0784 is the lowest that 50 replicates can give" in lead  # two classes, 2 / 51 each
    assert head.split() == ["model", "id", "class", "first", "other", "difference", "low", "high", "p", "p", "(Holm)"]
    assert [row.split()[:3] for row in rows] == [
        ["y", "1", "dog"], ["y", "2", "traffic"], ["z", "1", "dog"], ["z", "2", "traffic"]
    ]  # fmt: skip
    assert "lowest" not in run(capsys, *files, "--replicates", "100", "--per-class").split("\n\n")[-1]


def test_files_of_equal_names_are_named_by_their_paths_or_by_numbers(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    assert run(capsys, *files[:2], files[1], *FEW).startswith("model 2 minus model 1:")
    (tmp_path / "b").mkdir()
    same = tmp_path / "b" / "sharp.json"
    same.write_text(pathlib.Path(files[1]).read_text())
    assert run(capsys, *files[:2], str(same), *FEW).startswith(f"{same} minus {files[1]}:")


def test_objects_that_only_one_finds_are_listed(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    options = (*FEW, "--no-permutation", "--changes", "0.75")  # the IoU of all detections of blunt.v2 is 0.6
    lead, head, *rows = run(capsys, *files, *options, "--top", "4").split("\n\n")[-1].splitlines()
    assert lead == "Objects that only one detector finds at IoU 0.75 (4 of 11)"
    assert head.split() == ["model", "change", "image", "class", "object", "score", "iou"]
    assert [row.split() for row in rows] == [
        ["blunt.v2", "lost", str(image), str(1 + image % 2), str(image), f"{0.9 - image / 100:.3f}", "1.000"]
        for image in range(1, 5)
    ]
    content = json.loads(run(capsys, *files, *options, "--json", "-"))
    assert [row["ground_truth"] for row in content["changes"]] == [*range(1, 12)]
    lead = run(capsys, *files, *FEW, "--no-permutation", "--changes").split("\n\n")[-1]
    assert lead == "Objects that only one detector finds at IoU 0.50 (0 of 0)\n"


def test_fewer_images_are_compared(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    options = (*FEW, "--no-permutation", "--seed", "4", "--sequential", "6,12")
    lead, head, *rows = run(capsys, *files, *options).split("\n\n")[-1].splitlines()
    assert lead == "AP as images come in: intervals corrected for 2 looks"
    assert head.split() == ["model", "images", "difference", "low", "high", "p,", "exchanged", "decided"]
    truth = io.read_coco_ground_truths(files[0])
    evaluations = [jaxmap.evaluate(io.read_coco_detections(path, truth), truth) for path in files[1:]]
    comparison = jaxmap.compare(*evaluations, names=["sharp", "blunt.v2"], num_replicates=50, permutation=False)
    expected = sequential_comparison(comparison, [6, 12], seed=4)
    assert [row.split()[:3] for row in rows] == [
        ["blunt.v2", str(size), f"{change:+.4f}"]
        for size, change in zip([6, 12], expected["difference"].tolist(), strict=True)
    ]
    assert rows[-1].split()[-1] == "yes"
    assert json.loads(run(capsys, *files, *options, "--json", "-"))["sequential"] == expected.rows()


def test_groups_of_images_are_drawn(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    groups = tmp_path / "videos.csv"
    groups.write_text("file_name,group\n" + "".join(f"{image}.jpg,{image % 4}\n" for image in range(1, 13)))
    arguments = (*files, *FEW, "--group", str(groups), "--json", "-")
    content = json.loads(run(capsys, *arguments))
    truth = io.read_coco_ground_truths(files[0])
    evaluations = [jaxmap.evaluate(io.read_coco_detections(path, truth), truth) for path in files[1:]]
    unit = (np.arange(1, 13) % 4).tolist()
    expected = jaxmap.compare(*evaluations, names=["sharp", "blunt.v2"], num_replicates=50, unit=unit)
    assert content == expected.to_dict()
    assert content != json.loads(run(capsys, *files, *FEW, "--json", "-"))


def test_grids_and_protocol_are_options(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    content = json.loads(run(capsys, *files, *FEW, "--iou-thresholds", "0.5", "--json", "-"))
    ap = content["summary"][0]
    assert (ap["number"], ap["difference"]) == ("AP", 0.0)  # IoU 0.6 is enough at 0.5
    voc = json.loads(run(capsys, *files, *FEW, "--protocol", "voc2012", "--json", "-"))
    assert [row["number"] for row in voc["summary"]] == ["AP", "AR"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "a"], "--names must be 2 different names, one for each DT, got 'a'"),
        (["--names", "a,a"], "--names must be 2 different names"),
        (["--replicates", "1"], "'1' is not a whole number of at least 2"),
        (["--seed", "-1"], "'-1' is not a whole number from 0 to 4294967295"),
        (["--confidence", "95"], "'95' is not a number between 0 and 1, such as 0.95"),
        (["--looks", "none"], "'none' is not a whole number of at least 1"),
        (["--changes", "0.42"], "--changes must be an IoU threshold of the protocol (0.5, 0.55, 0.6"),
        (["--changes", "a.json"], "'a.json' is not a number; write --changes after the files to leave out its value"),
        (["--sequential", "--replicates", "30"], "4 looks need at least 80 replicates"),
        (["--sequential", "--group", "x.csv"], "--sequential looks at single images, and --group draws groups of them"),
        (["--sequential", "3,2"], "`sizes` must be ascending numbers of images from 2 to 12, got [3, 2]"),
        (["--top", "-1"], "'-1' is not a whole number of at least 0"),
        (["--group", "nowhere.csv"], "nowhere.csv: No such file or directory"),
    ],
)
def test_bad_options_are_one_line(
    capsys: pytest.CaptureFixture[str], files: list[str], options: list[str], message: str
) -> None:
    assert message in error_of(capsys, "compare", *files, *options)


def test_bad_inputs_are_named(capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path) -> None:
    message = "compare needs two or more files of detections, got only sharp.json"
    assert message in error_of(capsys, "compare", files[0], "sharp.json")
    assert "DT" in error_of(capsys, "compare", files[0])
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([results(0)[0] | {"score": None}]))
    message = error_of(capsys, "compare", *files, str(broken))
    assert f"{broken}: `results[0].score` must be a finite number" in message
    message = error_of(capsys, "compare", *files, "--json", files[2])
    assert message == f"jaxmap: error: --json {files[2]} would overwrite an input file\n"
