"""The page holds the evaluation's own numbers, needs no other file, and says why where there is nothing to show."""

from __future__ import annotations

import html
import pathlib
import re
import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

import jaxmap
from jaxmap import io, report
from jaxmap._cli import main
from jaxmap.report import report_page, write_report
from jaxmap.report._markup import without_dead_links
from support.page import DASH, Page, assert_self_contained, assert_shown, words

NOTHING: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
NOTHING_FOUND = NOTHING | {"scores": np.zeros(0)}
ODD_NAMES = ["<script>alert(1)</script>", "$x$ & \"y\" 'z'", "_犬</svg>"]
ONE = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [0]}


@pytest.fixture(scope="module")
def evaluation() -> jaxmap.Evaluation:
    return jaxmap.evaluate(*io.demo_scene())


@pytest.fixture(scope="module")
def text(evaluation: jaxmap.Evaluation) -> str:
    return report_page(evaluation)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def odd_names() -> str:
    """The page of three classes, each found once at a score of its own."""
    truth = {"boxes": [[0.0, 20.0 * k, 10.0, 20.0 * k + 10] for k in range(3)], "labels": [0, 1, 2]}
    evaluation = jaxmap.evaluate([truth | {"scores": [0.9, 0.8, 0.7]}], [truth], class_names=ODD_NAMES)
    return report_page(evaluation, title="a < b & <i>c</i>")


# ---- numbers ----


def test_headline_is_the_table_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    table = page.columns("numbers", 0)
    assert words(table["number"]) == list(evaluation.summary)
    assert_shown(table["value"], list(evaluation.summary.values()), ".3f")
    printed = [re.findall(r"=\s*([^\s|\]]+)", line) for line in str(evaluation).splitlines()]
    shown = zip(*(words(table[title]) for title in ("IoU", "of", "detections", "value")), strict=True)
    assert printed == [list(row) for row in shown]
    tiles = [element["class"] for _, element in page.elements if element.get("class") == "tile"]
    assert len(tiles) == 4  # AP, AP50, AP75, best F1
    assert "300 images, 1,964 objects, 3,126 detections (at most 100 per image and class), 10 classes" in page.text[""]


def test_classes_are_those_of_the_evaluation_by_descending_ap(page: Page, evaluation: jaxmap.Evaluation) -> None:
    columns = evaluation.per_class()
    order = np.argsort(-np.array(columns["AP"]))
    table = page.columns("classes", 0)
    assert words(table.pop("class")) == [columns["class_name"][row] for row in order]
    assert words(table.pop("id")) == [str(columns["class_id"][row]) for row in order]
    assert_shown(table.pop("objects"), np.array(columns["num_ground_truths"])[order], ",")
    assert list(table) == list(evaluation.summary)
    for name, cells in table.items():
        assert_shown(cells, np.array(columns[name])[order], ".3f")


def test_explanation_is_that_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    explanation = evaluation.explain()
    steps, false_positives, images = (page.columns("why", index) for index in range(3))
    chain = ("images_alone", "classes_alone", "objects_alone", "holders_together", "together")
    assert_shown(steps["AP"], [getattr(explanation, name) for name in chain], ".4f")
    changes = {"class averaging": 0.0, "ranking": 0.0}
    for (_, change), (share, _) in zip(steps["step"][1:], steps["share"][1:], strict=True):
        assert change is not None
        changes[share] += change
    # Sums of a few differences of numbers below 1.
    assert changes["class averaging"] == pytest.approx(-explanation.class_averaging_share, abs=1e-15)
    assert changes["ranking"] == pytest.approx(-explanation.ranking_share, abs=1e-15)
    worst = explanation.false_positives(10)
    assert_shown(false_positives["cost in AP"], worst["cost"], ".5f")
    assert words(false_positives["image"]) == [str(image) for image in worst["image_id"]]
    assert words(false_positives["class"]) == worst["class_name"]
    assert_shown(false_positives["score"], worst["score"], ".4g")
    of_images = explanation.images(10)
    assert words(images["image"]) == [str(image) for image in of_images["image_id"]]
    assert_shown(images["AP"], of_images["AP"], ".4f")
    first, second = str(explanation).splitlines()[:2]
    assert f"{first} {second}" in page.text["why"]


def test_operating_points_are_those_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    points = evaluation.operating_points(0.5)
    for index, rows in enumerate((slice(-2, None), slice(-2))):
        table = page.columns("thresholds", index)
        assert_shown(table["score from"], points["score_threshold"][rows], "")
        assert_shown(table["F1"], points["f_score"][rows], ".3f")
        assert_shown(table["precision"], points["precision"][rows], ".3f")
        assert_shown(table["recall"], points["recall"][rows], ".3f")
        assert_shown(table["TP"], points["true_positives"][rows], ",")
        assert_shown(table["FN"], points["false_negatives"][rows], ",")
    assert words(table["class"]) == list(evaluation.class_names)


def test_sets_are_those_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    score = evaluation.curve(0.5).best.score_threshold
    sets = evaluation.precision_recall_f1(score_threshold=score)
    table, rates = page.columns("sets", 0), sets.per_threshold()
    assert words(table["IoU"]) == [f"{value:.2f}" for value in evaluation.protocol.iou_thresholds]
    assert_shown(table["F1 micro"], rates["micro_f1"], ".3f")
    assert_shown(table["recall macro"], rates["macro_recall"], ".3f")
    assert_shown(table["FP"], rates["false_positives"], ",")
    assert str(evaluation.cgf1(score)) in page.text["sets"]
    assert f"F1, mean {rates['micro_f1'].mean():.3f}" in page.text["sets"]


@pytest.mark.filterwarnings("ignore:the detections have no scores")
def test_detections_without_scores_are_said_in_words() -> None:
    found, nowhere = ONE["boxes"][0], [50.0, 50.0, 60.0, 60.0]
    page = Page(report_page(jaxmap.evaluate([{"boxes": [nowhere, found], "labels": [0, 0]}], [ONE])))
    assert "The detections have no scores (all are 1), so AP depends on the order" in page.text["sets"]
    assert "lowest 0.5" in page.text["numbers"]
    assert page.columns("sets", 0)["precision micro"][0] == ("0.500", 0.5)


def test_error_types_are_those_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    errors = evaluation.error_types()
    table, of_classes = (page.columns("errors", index) for index in range(2))
    assert words(table["error"]) == [name.replace("_", " ") for name in errors.gain]
    assert_shown(table["count"], list(errors.count.values()), ",")
    assert_shown(table["gain in AP"], list(errors.gain.values()), ".4f")
    assert words(table["meaning"]) == errors.table()["meaning"]
    assert f"AP at IoU 0.5 is {errors.average_precision:.4f}" in page.text["errors"]
    assert words(of_classes["class"]) == list(evaluation.class_names)
    columns = errors.per_class()
    assert_shown(of_classes["AP"], columns["AP"], ".3f")
    for name in errors.gain:
        assert_shown(of_classes[name.replace("_", " ")], columns[f"{name}_gain"], ".3f")


def test_lrp_is_that_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    columns = evaluation.localisation_recall_precision(0.5)
    errors = {"oLRP": "lrp", "1 \N{MINUS SIGN} IoU": "lrp_loc", "1 \N{MINUS SIGN} precision": "lrp_fp",
              "1 \N{MINUS SIGN} recall": "lrp_fn"}  # fmt: skip
    means, table = (page.columns("lrp", index) for index in range(2))
    assert_shown(means["mean over the classes"], [columns[name][-1] for name in errors.values()], ".3f")
    for title, name in errors.items():
        assert_shown(table[title], columns[name][:-1], ".3f")
    for title, name in {"TP": "true_positives", "FP": "false_positives", "FN": "false_negatives"}.items():
        assert_shown(table[title], columns[name][:-1], ",")
    assert [number for _, number in table["score from"]] == columns["score_threshold"][:-1].tolist()
    assert words(table["class"]) == list(evaluation.class_names)
    assert f"moLRP {columns['lrp'][-1]:.3f}" in page.text["lrp"]


def test_calibration_is_that_of_the_evaluation(page: Page, evaluation: jaxmap.Evaluation) -> None:
    calibration = evaluation.calibration(0.5)
    bins, classes = (page.columns("calibration", index) for index in range(2))
    assert words(bins["score"])[:2] == ["0 to 0.1", "0.1 to 0.2"]
    forms = {"mean score": ("mean_score", ".3f"), "precision": ("precision", ".3f"), "gap": ("gap", "+z.3f")}
    forms["detections"] = "num_detections", ","
    for title, (name, form) in forms.items():
        assert_shown(bins[title], calibration.bins[name], form)
    assert words(classes["class"]) == list(evaluation.class_names)
    for title, name in {"ECE": "ece", "MCE": "mce"}.items():
        assert_shown(classes[title], calibration.classes[name], ".3f")
    assert f"over the detections, {calibration.ece:.3f}; " in page.text["calibration"]
    assert f"ECE {calibration.ece:.3f}, MCE {calibration.mce:.3f}" in page.text["calibration"]


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    page = Page(report_page(jaxmap.evaluate([ONE | {"scores": [7.0]}], [ONE])))
    assert "Scores lie in [7, 7] and not in [0, 1]" in page.text["calibration"]


def test_ties_are_named_only_where_they_matter(page: Page, odd_names: str, evaluation: jaxmap.Evaluation) -> None:
    ties = evaluation.tie_bounds()
    assert ties.differ
    assert f"lowest {ties.lowest:.10f}, as evaluated {ties.conventional:.10f}" in page.text["numbers"]
    assert "equal scores" not in Page(odd_names).text["numbers"]


def test_pictures_of_the_page_show_its_numbers(page: Page, evaluation: jaxmap.Evaluation) -> None:
    assert [tag for tag, _ in page.elements].count("svg") == 10
    ap50 = dict(zip(evaluation.class_names, evaluation.per_class()["AP50"], strict=True))
    for name, value in ap50.items():
        assert f"{value:.3f}  {name}" in page.text["curves"]
    assert f"{evaluation.summary['AP75']:.3f}  IoU 0.75" in page.text["curves"]
    best = evaluation.curve(0.5).best
    assert f"best F1 {best.f_score:.3f} from score {best.score_threshold:.4g}" in page.text["thresholds"]
    assert f"{int(evaluation.curve(0.5).true_positives[-1]):,} true positives" in page.text["thresholds"]


def test_other_protocols_and_grids_have_their_own_table() -> None:
    found = ONE | {"scores": [0.9]}
    voc = jaxmap.evaluate([found], [ONE], protocol="voc2007", iou_thresholds=[0.3, 0.45], class_agnostic=True)
    page = Page(report_page(voc))
    table = page.columns("numbers", 0)
    assert_shown(table["value"], list(voc.summary.values()), ".3f")
    assert words(table["IoU"]) == ["0.30:0.45"] * 2
    assert words(table["detections"]) == ["all"] * 2
    assert "1 class. Protocol voc2007 with changed thresholds" in page.text[""]
    assert "IoU 0.45" in page.text["thresholds"]


# ---- the page ----


def test_page_needs_nothing_else(text: str) -> None:
    assert_self_contained(text)


def test_classes_and_images_link_to_their_rows(text: str, evaluation: jaxmap.Evaluation) -> None:
    link = r'<a href="#([^"]*)">([^<]*)</a>'
    linked = re.findall(link, text)
    rows = dict(re.findall(r'<tr id="([^"]*)"[^>]*><th scope="row"><span>(?:<a [^>]*>)?([^<]*)<', text))
    of_classes = [(target, name) for target, name in linked if target.startswith("class-")]
    assert len(of_classes) >= 4 * len(evaluation.class_names)  # thresholds, errors, LRP, calibration
    assert all(rows[target] == name for target, name in of_classes)
    of_images = [(target, name) for target, name in linked if target.startswith("image-")]
    assert of_images
    assert all(rows[target] == name for target, name in of_images)


def test_links_to_what_a_page_lacks_are_text() -> None:
    page = without_dead_links('<p id="b"></p><a href="#a b c">x</a><a href="#a">y <b>z</b></a>')
    assert page == '<p id="b"></p><a href="#b">x</a>y <b>z</b>'


def test_page_can_be_printed_and_is_scripted_within_its_limits(text: str) -> None:
    assert "@media print" in text
    scripts = [path.read_text(encoding="utf-8") for path in pathlib.Path(report.__file__).parent.glob("*.js")]
    assert scripts
    assert sum(script.count("\n") for script in scripts) < 300
    assert not re.search(r"innerHTML|eval\(|fetch\(|XMLHttp|import\(|document\.write", "".join(scripts))


def test_page_follows_the_scheme_of_the_reader(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    pictures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "currentColor" in pictures
    assert not re.search(r"(fill|stroke): #(1b1f27|000000|ffffff)", pictures)


def test_names_are_text(odd_names: str) -> None:
    page = assert_self_contained(odd_names)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert [tag for tag, _ in page.elements].count("svg") == 10
    assert sorted(words(page.columns("classes", 0)["class"])) == sorted(ODD_NAMES)
    assert "a < b & <i>c</i>" in page.text[""]
    assert "犬" in page.text["confusion"]  # also in letters that matplotlib lacks
    assert html.escape(ODD_NAMES[0]) in odd_names


def test_nothing_found_is_said_in_words() -> None:
    page = assert_self_contained(report_page(jaxmap.evaluate([NOTHING_FOUND], [ONE])))
    assert_shown(page.columns("numbers", 0)["value"][:3], [0.0, 0.0, 0.0], ".3f")
    assert [tag for tag, _ in page.elements].count("svg") == 2  # LRP and the confusion matrix show what was missed
    assert page.text["curves"].count("There are no detections") == 2
    assert "There are no counted detections" in page.text["thresholds"]
    assert "No AP is lost to false positives." in page.text["why"]
    assert words(page.columns("thresholds", 0)["score from"]) == [DASH, DASH]
    assert "There are no detections" in page.text["errors"]
    assert words(page.columns("errors", 0)["count"]) == ["0"] * 5 + ["1", "0", "1"]


def test_no_ground_truth_is_said_in_words() -> None:
    page = assert_self_contained(report_page(jaxmap.evaluate([ONE | {"scores": [0.9]}], [NOTHING])))
    assert set(words(page.columns("numbers", 0)["value"])) == {DASH}
    assert "No image has counted ground truth" in page.text["why"]
    assert page.text["curves"].count("There is no counted ground truth") == 2
    assert "There is no counted ground truth" in page.text["errors"]
    # False positives by score, in the reliability diagram and in the confusion matrix.
    assert [tag for tag, _ in page.elements].count("svg") == 3


def test_nothing_at_all_is_said_in_words() -> None:
    page = assert_self_contained(report_page(jaxmap.evaluate([NOTHING_FOUND], [NOTHING])))
    assert "1 image, 0 objects, 0 detections" in page.text[""]
    assert "svg" not in [tag for tag, _ in page.elements]
    assert "the matrix is empty" in page.text["confusion"]
    assert page.columns("classes", 0)["class"] == []


# ---- the files and the command ----


def test_report_is_the_same_whatever_the_settings_of_matplotlib(
    evaluation: jaxmap.Evaluation, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    text = report_page(evaluation)
    with matplotlib.rc_context({"font.size": 30.0, "lines.linewidth": 9.0}):
        before = matplotlib.rcParams.copy()
        path = write_report(evaluation, tmp_path / "new" / "folder")
        assert matplotlib.rcParams.copy() == before
    assert path == tmp_path / "new" / "folder" / "index.html"
    assert path.read_text(encoding="utf-8") == text
    assert "matplotlib.pyplot" not in sys.modules


def test_command_writes_the_page_and_the_sheet(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, page: Page
) -> None:
    assert main(["report", "--demo", "-o", str(tmp_path), "--png"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / name) for name in ("index.html", "overview.png")]
    assert err == ""
    written = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    del written.tables["origin"]  # which names the command
    assert written.tables.items() <= page.tables.items()
    assert "The demo scene" in written.text[""]
    with Image.open(tmp_path / "overview.png") as image:
        assert min(image.size) > 1000
    assert (tmp_path / "overview.png").stat().st_size < 150_000


def test_command_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["report", "--demo"]) == 2
    assert "-o" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", "--demo", "-o", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "pip install 'jaxmap[plot]'" in err
    assert list(tmp_path.iterdir()) == []
