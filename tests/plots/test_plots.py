"""Pictures draw what the evaluation says, fit into their frame, and say why where there is nothing to draw."""

from __future__ import annotations

import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import jaxmap
from jaxmap import plots

ON_THE_SHEET = [
    plots.precision_recall_curves,
    plots.iou_curves,
    plots.f_score_curve,
    plots.confusion_matrix,
    plots.image_histogram,
    plots.score_histogram,
]
PICTURES = [
    *ON_THE_SHEET,
    plots.iou_rates,
    plots.error_types,
    plots.reliability_diagram,
    plots.localisation_recall_precision,
]
ROUNDING = 1e-15  # the reference guards precision, tp / (tp + fp + 2e-16), so that 1 is a step below
NOTHING: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
NOTHING_FOUND = NOTHING | {"scores": np.zeros(0)}


def box(place: int) -> list[float]:
    return [20.0 * place, 0.0, 20.0 * place + 10.0, 10.0]


@pytest.fixture(scope="module")
def two_images() -> jaxmap.Evaluation:
    """A dog that is found at 0.91, a cat that is missed, and a dog that is none, at 0.81; and in image 1 a dog.

    The dog of image 1 is found as a cat at 0.71.
    """
    truth = [{"boxes": [box(0), box(1)], "labels": [0, 1]}, {"boxes": [box(0)], "labels": [0]}]
    found = [
        {"boxes": [box(0), box(5)], "labels": [0, 0], "scores": [0.91, 0.81]},
        {"boxes": [box(0)], "labels": [1], "scores": [0.71]},
    ]
    return jaxmap.evaluate(found, truth, class_names=["dog", "cat", "not there"])


@pytest.fixture(scope="module")
def twenty_classes() -> jaxmap.Evaluation:
    """Twenty images of one object of each class; class k is found in the images 0 to k, always at 0.9."""
    truth = [{"boxes": [box(k) for k in range(20)], "labels": list(range(20))}] * 20
    found = [
        {"boxes": [box(k) for k in range(i, 20)], "labels": list(range(i, 20)), "scores": [0.9] * (20 - i)}
        for i in range(20)
    ]
    names = [f"a very long name < & $ $ class {k}" for k in range(20)]
    return jaxmap.evaluate(found, truth, class_names=names)


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


# ---- what is drawn ----


def test_precision_recall_curves_are_those_of_the_evaluation(two_images: jaxmap.Evaluation) -> None:
    axes = plots.precision_recall_curves(two_images, iou_threshold=0.75)
    dog, cat = axes.get_lines()  # a class without ground truth has no curve
    # One of two dogs is found and ranks first: precision 1 up to recall 0.5, the first 51 of 101 points, then none.
    assert dog.get_ydata().tolist() == pytest.approx([1.0] * 51 + [0.0] * 50, abs=ROUNDING)
    assert dog.get_xdata().tolist() == list(two_images.protocol.recall_points)
    assert cat.get_ydata().tolist() == [0.0] * 101
    assert legend(axes) == ["0.505  dog", "0.000  cat"]
    assert axes.get_title() == "Precision and recall per class, IoU 0.75"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")


def test_many_classes_name_the_best_and_the_worst(twenty_classes: jaxmap.Evaluation) -> None:
    axes = plots.precision_recall_curves(twenty_classes, limit=5)
    assert len(axes.get_lines()) == 20
    # Class k reaches recall (k + 1) / 20 at precision 1: 101, 95 (as 0.95 lies below the point nearest to it) and 91 of
    # 101 points for the best; 11 and 6 for the worst.
    averages = ["1.000", "0.941", "0.901", "15 other classes", "0.109", "0.059"]
    assert [name.split("  ")[0] for name in legend(axes)] == averages
    assert legend(axes)[0] == r"1.000  a very l…lass 19"
    assert legend(axes)[-1].endswith("class 0")
    styles = [(line.get_color(), line.get_linestyle()) for line in axes.get_lines()]
    assert len(set(styles[:5])) == 5
    assert set(styles[5:]) == {("#8c8c8c", "-")}
    everything = plots.precision_recall_curves(twenty_classes, limit=24).get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in everything}) == 20


def test_iou_curves_are_means_over_the_classes_with_ground_truth(two_images: jaxmap.Evaluation) -> None:
    axes = plots.iou_curves(two_images, limit=4)
    lines = axes.get_lines()
    # Half of the dog's curve, as the cat's is 0; boxes are exact, so all thresholds agree.
    assert len(lines) == 4
    for line in lines:
        assert line.get_ydata().tolist() == pytest.approx([0.5] * 51 + [0.0] * 50, abs=ROUNDING)
    assert legend(axes) == [f"0.252  IoU {value:.2f}" for value in (0.5, 0.65, 0.8, 0.95)]


def test_curves_of_the_area_average_show_its_ap() -> None:
    truth = [{"boxes": [box(0), box(1), box(2)], "labels": [0, 0, 0]}]
    found = [{"boxes": [box(0)], "labels": [0], "scores": [0.91]}]
    evaluation = jaxmap.evaluate(found, truth, protocol="all-point", iou_thresholds=[0.5])
    # A third of the objects at precision 1; the mean over 101 points would be 34 / 101 = 0.337.
    assert legend(plots.precision_recall_curves(evaluation)) == ["0.333  0"]
    assert legend(plots.iou_curves(evaluation)) == ["0.333  IoU 0.50"]


def test_f_score_curve_is_from_raw_counts_and_marks_the_best(two_images: jaxmap.Evaluation) -> None:
    axes = plots.f_score_curve(two_images)
    f_score, precision, recall, _, mark = axes.get_lines()
    assert f_score.get_xdata().tolist() == [0.91, 0.81, 0.71]
    assert f_score.get_drawstyle() == "steps-post"  # at 0.85, as at 0.91 and not as at 0.81, one is reported
    # Three objects; one is found by the first of one, two, three detections: F1 = 2 / (3 + reported).
    assert f_score.get_ydata().tolist() == pytest.approx([2 / 4, 2 / 5, 2 / 6], abs=ROUNDING)
    assert precision.get_ydata().tolist() == pytest.approx([1, 1 / 2, 1 / 3], abs=ROUNDING)
    assert recall.get_ydata().tolist() == pytest.approx([1 / 3] * 3, abs=ROUNDING)
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (0.91, 0.5)
    assert "best F1 0.500 from score 0.91" in legend(axes)[-1]
    of_dogs = plots.f_score_curve(two_images, class_id=0, beta=2.0)
    # Of two dogs one is found: F2 = 5 / (reported + 4 * 2).
    assert of_dogs.get_lines()[0].get_ydata().tolist() == pytest.approx([5 / 9, 5 / 10], abs=ROUNDING)
    assert of_dogs.get_ylabel() == "F2, precision, recall"


def test_iou_rates_are_those_of_the_sets(two_images: jaxmap.Evaluation) -> None:
    axes = plots.iou_rates(two_images)  # from score 0.91: one of three objects is found, and nothing is wrong
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[2 / 4] * 10, [1.0] * 10, [1 / 3] * 10]
    assert axes.get_lines()[0].get_xdata().tolist() == list(two_images.protocol.iou_thresholds)
    assert legend(axes) == ["F1, mean 0.500", "precision, mean 1.000", "recall, mean 0.333"]
    assert axes.get_title() == "Precision, recall and F1, score from 0.91"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("IoU threshold", "precision, recall, F1")
    unscored = jaxmap.evaluate([{"boxes": [box(0), box(1)], "labels": [0, 0]}], [{"boxes": [box(0)], "labels": [0]}])
    axes = plots.iou_rates(unscored)
    assert axes.get_lines()[1].get_ydata().tolist() == [0.5] * 10
    assert axes.get_title() == "Precision, recall and F1, all detections"


def test_f_score_curve_without_a_true_positive_marks_nothing(two_images: jaxmap.Evaluation) -> None:
    axes = plots.f_score_curve(two_images, class_id=1)
    assert len(axes.get_lines()) == 3
    assert legend(axes) == ["F1", "precision", "recall"]


def test_score_histogram_counts_both_kinds(two_images: jaxmap.Evaluation) -> None:
    axes = plots.score_histogram(two_images)
    true, false = (patch.get_data() for patch in axes.patches)
    # In fortieths: 0.91 is 36.4, 0.81 is 32.4, 0.71 is 28.4.
    assert np.flatnonzero(true.values).tolist() == [36]
    assert true.values.sum() == 1
    assert np.flatnonzero(false.values).tolist() == [28, 32]
    assert false.values.sum() == 2
    assert legend(axes) == ["1 true positives", "2 false positives"]
    assert axes.get_ylabel() == "detections per 0.025 of score"
    assert axes.get_yscale() == "linear"


def test_score_histogram_makes_a_dwarfed_kind_visible() -> None:
    truth = [{"boxes": [box(0)], "labels": [0]}]
    found = [{"boxes": [box(0)] + [box(9)] * 30, "labels": [0] * 31, "scores": [5.0] + [-3.0] * 30}]
    axes = plots.score_histogram(jaxmap.evaluate(found, truth, iou_thresholds=[0.5]))
    assert axes.get_yscale() == "log"
    true, false = (patch.get_data() for patch in axes.patches)
    assert (true.edges[0], true.edges[-1]) == (-3.0, 5.0)  # scores need not lie in [0, 1]
    assert (true.values[-1], false.values[0]) == (1, 30)


def test_image_histogram_counts_images_and_names_the_worst(two_images: jaxmap.Evaluation) -> None:
    axes = plots.image_histogram(two_images)
    heights = [patch.get_height() for patch in axes.patches]
    # Image 0: dog 1, cat 0, together a rounding error below 0.5, which parts two bars; image 1: its dog is missed.
    assert len(heights) == 20
    assert sum(heights) == 2
    assert heights[0] == heights[9] + heights[10] == 1
    assert legend(axes) == [
        "mean of 2 images: 0.250", "the lowest:", "image 1: AP 0.000, 1 object", "image 0: AP 0.500, 2 objects"
    ]  # fmt: skip
    assert len(legend(plots.image_histogram(two_images, worst=1))) == 3


def counts_drawn(axes: Any) -> dict[tuple[str, str], str]:
    """Returns the number written into each cell of a confusion matrix, by the names of its row and column."""
    rows, columns = (
        [label.get_text() for label in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    assert rows == columns
    cells = [(text.get_position(), text.get_text()) for text in axes.texts]
    return {(rows[int(y)], columns[int(x)]): count for (x, y), count in cells}


def test_confusion_matrix_writes_its_counts(two_images: jaxmap.Evaluation) -> None:
    missed, extra = ("dog", "background"), ("background", "dog")
    expected = {("dog", "dog"): "1", ("cat", "background"): "1"}
    at_best = plots.confusion_matrix(two_images)
    assert counts_drawn(at_best) == expected | {missed: "1"}
    assert at_best.get_title(loc="left") == "Confusion matrix, IoU 0.50, score from 0.91"
    everything = plots.confusion_matrix(two_images, score_threshold=0.0)
    assert counts_drawn(everything) == expected | {("dog", "cat"): "1", extra: "1"}
    # Of two dogs one is right and one is called cat; rows are shares of the ground truths of a class.
    shares = dict(zip(["dog", "cat"], everything.collections[0].get_array(), strict=False))
    assert shares["dog"].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert everything.yaxis_inverted()


def test_confusion_matrix_adds_up_the_classes_with_fewer_errors(twenty_classes: jaxmap.Evaluation) -> None:
    cells = counts_drawn(plots.confusion_matrix(twenty_classes, limit=3))
    # Class k is found k + 1 times of 20. The sums over the classes 3 to 19: 4 + ... + 20 found, 16 + ... + 0 missed.
    assert list(cells.values()) == ["1", "19", "2", "18", "3", "17", "204", "136"]
    assert cells["17 other classes", "17 other classes"] == "204"
    assert cells["17 other classes", "background"] == "136"


def test_error_types_are_bars_of_their_gain(two_images: jaxmap.Evaluation) -> None:
    axes = plots.error_types(two_images)
    bars = dict(zip([label.get_text() for label in axes.get_yticklabels()], axes.patches, strict=True))
    gains, counts = two_images.error_types().gain, two_images.error_types().count
    assert [name.replace(" ", "_") for name in bars] == list(gains)
    assert [bar.get_width() for bar in bars.values()] == list(gains.values())
    # Of two dogs one is found, 51 of 101 recall points, and one is called a cat. Fixed, it ranks below the dog that is
    # none: precision 2/3 at the other 50. The mean is over two classes.
    assert bars["classification"].get_width() == pytest.approx(50 * 2 / 3 / 101 / 2, abs=ROUNDING)
    assert bars["background"].get_width() == 0  # the dog that is none ranks last
    assert [text.get_text() for text in axes.texts] == [str(count) for count in counts.values()]
    assert axes.yaxis_inverted()
    assert axes.get_title() == "Error types, IoU 0.50, AP 0.252"
    # At an IoU threshold of 0.75 the boxes are still exact; the background may begin anywhere below it.
    assert plots.error_types(two_images, iou_threshold=0.75, background_threshold=0.7).patches[0].get_width() > 0
    low = jaxmap.evaluate(*[[{"boxes": [box(0)], "labels": [0]} | extra] for extra in ({"scores": [0.9]}, {})],
                          iou_thresholds=[0.06])  # fmt: skip
    assert plots.error_types(low).get_title() == "Error types, IoU 0.06, AP 1.000"  # background below 0.03


def test_reliability_diagram_is_that_of_the_calibration(two_images: jaxmap.Evaluation) -> None:
    axes = plots.reliability_diagram(two_images)
    bars, expected = axes.patches, two_images.calibration().bins
    # At 0.91 a true positive, at 0.81 and 0.71 false ones.
    assert [bar.get_height() for bar in bars] == expected["precision"].tolist() == [0.0, 0.0, 1.0]
    assert [bar.get_x() for bar in bars] == [0.7, 0.8, 0.9]
    assert [text.get_text() for text in axes.texts] == ["1", "1", "1"]
    assert axes.collections[0].get_offsets()[:, 1].tolist() == pytest.approx([0.71, 0.81, 0.91])
    [diagonal] = axes.get_lines()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert axes.get_title() == "Reliability, IoU 0.50: ECE 0.537, MCE 0.810"  # (.09 + .81 + .71) / 3
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("score", "precision")
    of_dogs = plots.reliability_diagram(two_images, class_id=0, num_bins=2)
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in of_dogs.patches] == [(0.5, 0.5, 0.5)]
    assert plots.reliability_diagram(two_images, class_id=2).texts[0].get_text().startswith("There are no counted")


def test_scores_that_are_no_probabilities_have_no_reliability() -> None:
    truth = {"boxes": [box(0)], "labels": [0]}
    [text] = plots.reliability_diagram(jaxmap.evaluate([truth | {"scores": [4.5]}], [truth])).texts
    assert " ".join(text.get_text().split()).startswith("Scores lie in [4.5, 4.5] and not in [0, 1]")


def test_parts_of_a_bar_add_up_to_its_lrp(two_images: jaxmap.Evaluation, twenty_classes: jaxmap.Evaluation) -> None:
    axes = plots.localisation_recall_precision(two_images)
    # Of two dogs one is found, exactly: 1 / 2 for the missed one. The cat is missed, and nothing should be reported.
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dog", "cat"]
    assert [patch.get_width() for patch in axes.patches] == pytest.approx([0, 0, 0, 0, 0.5, 1.0])
    assert legend(axes) == ["badly placed boxes", "false positives", "missed objects", "moLRP 0.750"]
    assert axes.get_title() == "Optimal LRP per class, IoU 0.50"
    some = plots.localisation_recall_precision(twenty_classes, limit=3)
    assert [label.get_text()[-3:] for label in some.get_yticklabels()] == [" 19", " 18", "s 0"]
    assert some.get_ylabel() == "2 best, 1 worst of 20 classes"
    columns = twenty_classes.localisation_recall_precision()
    ends = [patch.get_x() + patch.get_width() for patch in some.patches[-3:]]
    assert ends == pytest.approx(columns["lrp"][[19, 18, 0]].tolist())


def test_lrp_says_why_it_is_not_drawn() -> None:
    truth = {"boxes": [box(0)], "labels": [0]}
    strict = jaxmap.evaluate([truth | {"scores": [0.5]}], [truth], iou_thresholds=[1.0])
    [text] = plots.localisation_recall_precision(strict).texts
    assert "At an IoU threshold of 1" in text.get_text()


def test_overview_holds_the_pictures_of_a_first_look(two_images: jaxmap.Evaluation) -> None:
    figure = plots.overview(two_images)
    assert len(figure.axes) == len(ON_THE_SHEET)
    assert all(axes.has_data() for axes in figure.axes)


# ---- how it is drawn ----


@pytest.mark.parametrize("draw", PICTURES, ids=lambda draw: draw.__name__)
def test_no_text_is_cut_off(draw: Any, twenty_classes: jaxmap.Evaluation) -> None:
    figure = draw(twenty_classes).figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = figure.get_tightbbox(canvas.get_renderer())  # inches: of all that is drawn, text and legends included
    pixel = 1 / figure.dpi  # what the rounding of letters to pixels may take
    assert -pixel < drawn.x0 < drawn.x1 < figure.get_figwidth() + pixel
    assert -pixel < drawn.y0 < drawn.y1 < figure.get_figheight() + pixel


def test_pictures_go_onto_given_axes_and_leave_pyplot_alone(
    two_images: jaxmap.Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    before = matplotlib.rcParams.copy()
    for draw in PICTURES:
        axes = Figure().add_subplot()
        assert draw(two_images, axes) is axes
    assert "matplotlib.pyplot" not in sys.modules
    assert matplotlib.rcParams.copy() == before


def test_a_name_with_dollars_is_no_formula() -> None:
    name = "costs $5 or $6"
    evaluation = jaxmap.evaluate([NOTHING_FOUND], [{"boxes": [box(0)], "labels": [0]}], class_names=[name])
    axes = plots.confusion_matrix(evaluation)
    FigureCanvasAgg(axes.figure).draw()
    [label] = [label for label in axes.get_yticklabels() if "costs" in label.get_text()]
    assert label._preprocess_math(label.get_text()) == (name, False)


# ---- nothing to draw ----


@pytest.mark.parametrize("draw", PICTURES, ids=lambda draw: draw.__name__)
def test_a_sentence_says_why_there_is_nothing_to_draw(draw: Any) -> None:
    truth = {"boxes": [box(0)], "labels": [0]}
    empty = jaxmap.evaluate([NOTHING_FOUND], [NOTHING])
    no_detections = jaxmap.evaluate([NOTHING_FOUND], [truth])
    no_truth = jaxmap.evaluate([{**truth, "scores": [0.5]}], [NOTHING])
    for evaluation, lacking in (
        (empty, "ground truth|detection"),
        (no_detections, "detection"),
        (no_truth, "ground truth"),
    ):
        axes = draw(evaluation)
        if axes.has_data():  # missed objects and false positives can be shown without the other kind
            assert evaluation is not empty
            of_one_kind = plots.confusion_matrix, plots.score_histogram
            assert draw in (*of_one_kind, plots.reliability_diagram, plots.localisation_recall_precision)
        else:
            [text] = axes.texts
            assert text.get_text().endswith(".")
            assert any(word in " ".join(text.get_text().split()) for word in lacking.split("|"))


# ---- errors ----


def test_missing_matplotlib_says_what_to_install(
    two_images: jaxmap.Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (*PICTURES, plots.overview):
        with pytest.raises(ImportError, match=r"pip install 'jaxmap\[plot\]'"):
            draw(two_images)


def test_a_threshold_that_was_not_evaluated_is_an_error(two_images: jaxmap.Evaluation) -> None:
    for draw in (plots.precision_recall_curves, plots.f_score_curve, plots.score_histogram, plots.error_types):
        with pytest.raises(ValueError, match=r"`iou_threshold` must be one of"):
            draw(two_images, iou_threshold=0.4)


def test_without_a_threshold_of_one_half_the_nearest_is_drawn() -> None:
    found, truth = {"boxes": [box(0)], "labels": [0], "scores": [0.9]}, {"boxes": [box(0)], "labels": [0]}
    evaluation = jaxmap.evaluate([found], [truth], iou_thresholds=[0.3, 0.6, 0.9])
    assert plots.precision_recall_curves(evaluation).get_title().endswith("IoU 0.60")
