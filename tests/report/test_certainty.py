"""Intervals and influence on the page of an evaluation, and the page of a comparison: the numbers of the analyses."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from jaxmap.analysis import sequential_comparison
from jaxmap.report import comparison_page, report_page, write_comparison, write_report
from support.page import DASH, Page, assert_self_contained, assert_shown, words

ONE = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}
NOTHING: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
HARMLESS = 'A<b> & "c"'


def detectors() -> list[jaxmap.Evaluation]:
    found, truth = io.demo_scene(60)
    moved = dataclasses.replace(found, boxes=found.boxes + np.array([6.0, 0, 0, 0]))
    lowered = dataclasses.replace(found, scores=np.where(np.arange(len(found.scores)) % 3, found.scores, 0.01))
    return [jaxmap.evaluate(one, truth) for one in (found, moved, lowered)]


@pytest.fixture(scope="module")
def evaluation() -> jaxmap.Evaluation:
    return detectors()[0]


@pytest.fixture(scope="module")
def comparison() -> jaxmap.analysis.Comparison:
    return jaxmap.compare(*detectors(), num_replicates=100, names=[HARMLESS, "moved", "lowered"])


# ---- an evaluation ----


def test_intervals_are_those_of_the_bootstrap(evaluation: jaxmap.Evaluation, tmp_path: pathlib.Path) -> None:
    path = write_report(evaluation, tmp_path, num_replicates=50)
    page = assert_self_contained(path.read_text(encoding="utf-8"))
    expected = evaluation.bootstrap(50)
    table, of_classes = (page.columns("intervals", index) for index in range(2))
    assert words(table["number"]) == list(expected.summary)
    for title, name, form in (
        ("value", "value", ".3f"),
        ("low", "low", ".3f"),
        ("high", "high", ".3f"),
        ("standard error", "standard_error", ".4f"),
    ):
        assert_shown(table[title], [getattr(row, name) for row in expected.summary.values()], form)
    assert words(of_classes["class"]) == list(evaluation.class_names)
    assert_shown(of_classes["AP"], [row.value for row in expected.of_class], ".3f")
    assert_shown(of_classes["low"], [row.low for row in expected.of_class], ".3f")
    assert "Images are drawn 50 times" in page.text["intervals"]
    assert "95% intervals, 50 replicates" in page.text["intervals"]
    assert "intervals" not in Page(report_page(evaluation)).tables


def test_the_learning_curve_is_drawn_beside_the_intervals(evaluation: jaxmap.Evaluation) -> None:
    page = Page(report_page(evaluation, num_replicates=5))
    assert "AP of random samples of the images" in page.text["intervals"]
    assert "The line is the mean AP of 50 random samples" in page.text["intervals"]


def test_parts_of_the_images_are_those_of_the_slices(evaluation: jaxmap.Evaluation) -> None:
    slices = evaluation.slices({"light": ["a<b", "dark", "dark"] * 20}, num_replicates=20)
    page = assert_self_contained(report_page(evaluation, slices=slices))
    table, expected = page.columns("slices", 0), slices.numbers()
    assert list(table) == ["images", "number", "objects", "AP", "low", "high", "AP50", "AP75", "APs", "APm", "APl"]
    assert words(table["images"]) == ["all", "light=a<b", "light=dark"]
    assert_shown(table["number"], expected["num_images"].tolist(), ",")
    for name in ("AP", "low", "high", "APl"):
        assert_shown(table[name], expected[name].tolist(), ".3f")
    alone = Page(report_page(evaluation, slices=evaluation.slices({"x": [True] * 60}, num_replicates=None)))
    assert "low" not in alone.columns("slices", 0)
    assert "slices" not in Page(report_page(evaluation)).tables


def test_influential_images_are_those_of_the_evaluation(evaluation: jaxmap.Evaluation) -> None:
    table = Page(report_page(evaluation)).columns("influence", 0)
    expected = evaluation.influence()
    assert list(table) == ["image", "AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert words(table["image"]) == [str(image) for image in expected["image_id"][:10]]
    for name in list(table)[1:]:
        assert_shown(table[name], expected[name][:10], "+z.5f")


def test_images_have_their_file_names() -> None:
    images = [{"id": number, "file_name": f"val/{number}.jpg"} if number else {"id": 0} for number in range(3)]
    annotations = [
        {"id": number + 1, "image_id": number, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}
        for number in range(3)
    ]
    truth = io.coco_ground_truths({"images": images, "categories": [{"id": 1}], "annotations": annotations})
    found = [{"image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}]
    page = Page(report_page(jaxmap.evaluate(io.coco_detections(found, truth), truth)))
    assert sorted(words(page.columns("influence", 0)["image"])) == ["0", "1 (val/1.jpg)", "2 (val/2.jpg)"]


def test_one_image_and_too_many_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = jaxmap.evaluate([ONE | {"scores": [0.9]}], [ONE])
    page = Page(report_page(alone, num_replicates=20))
    assert page.text["intervals"] == "IntervalsIntervals need at least two images."
    assert page.text["influence"] == "Influence of imagesInfluence needs at least two images."
    monkeypatch.setattr("jaxmap.report._certainty._MOST_IMAGES", 1)
    page = Page(report_page(jaxmap.evaluate([ONE | {"scores": [0.9]}] * 2, [ONE] * 2)))
    assert "is left out for more than 1 images" in page.text["influence"]
    assert page.tables["influence"] == []


def test_no_ground_truth_is_a_dash() -> None:
    empty = jaxmap.evaluate([NOTHING | {"scores": np.zeros(0)}] * 2, [NOTHING] * 2, num_classes=1)
    page = assert_self_contained(report_page(empty, num_replicates=5))
    assert set(words(page.columns("intervals", 0)["value"])) == {DASH}
    assert "no counted ground truth" in page.text["intervals"]
    with pytest.raises(ValueError, match="`num_replicates` must be a whole number of at least 2, got 1"):
        report_page(empty, num_replicates=1)


def test_command_takes_replicates_and_groups_of_classes(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"living": ["person", "dog", "zebra"]}))
    arguments = ["report", "--demo", "-o", str(tmp_path / "out"), "--bootstrap", "20", "--class-groups", str(groups)]
    table = tmp_path / "images.csv"
    images = io.demo_scene()[1].image_ids.tolist()
    table.write_text("image_id,light,hour\n" + "".join(f"{image},{image % 2},{image % 3}\n" for image in images))
    assert main([*arguments, "--slices", str(table), "--by", "light"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'index.html'}\n"
    page = Page((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert words(page.columns("intervals", 0)["number"])[-1] == "AP_living"
    assert words(page.columns("slices", 0)["images"]) == ["all", "light=0", "light=1"]
    assert words(page.columns("numbers", 0)["of"])[-1] == "living"


# ---- a comparison ----


def test_page_of_a_comparison_has_its_numbers(comparison: jaxmap.analysis.Comparison, tmp_path: pathlib.Path) -> None:
    path = write_comparison(comparison, tmp_path / "new", title="Which one?")
    assert path == tmp_path / "new" / "index.html"
    page = assert_self_contained(path.read_text(encoding="utf-8"))
    content = comparison.to_dict(20)
    for number, model in enumerate(("moved", "lowered")):
        rows = [row for row in content["summary"] if row["model"] == model]
        table = page.columns("numbers", number)
        assert words(table["number"]) == [row["number"] for row in rows]
        for title, name, form in (
            ("difference", "difference", "+z.4f"),
            ("low", "low", "+z.4f"),
            ("high", "high", "+z.4f"),
            ("p", "p_value", ".3g"),
            ("p, exchanged", "p_permutation", ".3g"),
            (HARMLESS, "first", ".3f"),
            (model, "other", ".3f"),
        ):
            assert_shown(table[title], [row[name] for row in rows], form)
        rows = sorted(
            (row for row in content["per_class"] if row["model"] == model), key=lambda row: -row["difference"]
        )
        table = page.columns("classes", number)
        assert words(table["class"]) == [row["class_name"] for row in rows]
        assert_shown(table["difference"], [row["difference"] for row in rows], "+z.4f")
        assert_shown(table["p, corrected"], [row["p_holm"] for row in rows], ".3g")
        rows = [row for row in content["images"] if row["model"] == model]
        table = page.columns("images", number)
        assert words(table["image"]) == [str(row["image_id"]) for row in rows]
        assert_shown(table["adds"], [row["influence"] for row in rows], "+z.5f")
    table = page.columns("wins", 0)
    assert words(table["detector"]) == ["moved"] * 3 + ["lowered"] * 3
    for title, name in (("better", "wins"), ("worse", "losses"), ("the same", "ties")):
        assert_shown(table[title], [row[name] for row in content["wins"]], ",")
    assert [tag for tag, _ in page.elements].count("svg") == 2
    changes, finder = comparison.changes(top=10).rows(), {"found": "moved", "lost": HARMLESS}
    rows, table = [row for row in changes if row["model"] == "moved"], page.columns("objects", 0)
    assert words(table["found by"]) == [finder[row["change"]] for row in rows]
    assert words(table["object"]) == [str(row["ground_truth"]) for row in rows]
    assert_shown(table["score"], [row["score"] for row in rows], ".3f")
    assert "looks" not in page.tables
    assert f"moved and lowered compared with {HARMLESS}: 60 images, 10 classes." in page.text[""]
    assert "With 100 replicates it is 0.198 at the lowest" in page.text["classes"]  # 10 classes, 2 / 101 each


def test_page_of_a_comparison_shows_fewer_images(comparison: jaxmap.analysis.Comparison) -> None:
    looks = sequential_comparison(comparison, [20, 60])
    page = assert_self_contained(comparison_page(comparison, looks=looks))
    for number, model in enumerate(("moved", "lowered")):
        rows = [row for row in looks.rows() if row["model"] == model]
        table = page.columns("looks", number)
        assert words(table["images"]) == ["20", "60"]
        for name in ("difference", "low", "high"):
            assert_shown(table[name], [row[name] for row in rows], "+z.4f")
        assert words(table["decided"]) == ["yes" if row["decided"] else "no" for row in rows]
    assert [tag for tag, _ in page.elements].count("svg") == 4


def test_comparison_of_parts_does_not_know_objects() -> None:
    part = detectors()[0].of_images(np.arange(60) < 10)
    page = Page(comparison_page(jaxmap.compare(part, part, num_replicates=2)))
    assert "needs boxes, which the state of a metric does not keep" in page.text["objects"]
    assert "objects" not in words(page.columns("wins", 0)["of"])


def test_comparison_without_ground_truth_is_said_in_words() -> None:
    empty = jaxmap.evaluate([NOTHING | {"scores": np.zeros(0)}] * 2, [NOTHING] * 2, num_classes=1)
    page = assert_self_contained(comparison_page(jaxmap.compare(empty, empty, num_replicates=2)))
    assert set(words(page.columns("numbers", 0)["difference"])) == {DASH}
    assert "no counted ground truth" in page.text["classes"]
    assert "compared with A: 2 images, 1 class." in page.text[""]


def test_compare_writes_the_page(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [
        {"id": image, "image_id": image, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "score": image / 8}
        for image in range(1, 7)
    ]
    truth = {"images": [{"id": image} for image in range(1, 7)], "categories": [{"id": 1}], "annotations": boxes}
    paths = [str(tmp_path / name) for name in ("gt.json", "one.json", "two.json")]
    for path, content in zip(paths, (truth, boxes, boxes[:3]), strict=True):
        pathlib.Path(path).write_text(json.dumps(content))
    out = tmp_path / "new" / "folder"
    assert main(["compare", *paths, "--replicates", "20", "--report", str(out), "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    page = Page((out / "index.html").read_text(encoding="utf-8"))
    assert page.columns("numbers", 0)["difference"][0][1] == content["summary"][0]["difference"]
    assert main(["compare", *paths, "--report", paths[0]]) == 2
    assert "Not a directory" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["compare", *paths, "--report", str(out)]) == 2
    assert "pip install 'jaxmap[plot]'" in capsys.readouterr().err
