"""The curves that the script of a page reads are those of the evaluation, and stay few bytes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import jaxmap
from jaxmap import io
from jaxmap.report import _explorer, report_page
from jaxmap.report._explorer import points_of_curves
from support.page import Page


@pytest.fixture(scope="module")
def evaluation() -> jaxmap.Evaluation:
    return jaxmap.evaluate(*io.demo_scene(40))


def curve(text: str) -> np.ndarray:
    """Returns recall, precision and score of each point, `[3, N]`."""
    return np.array(text.split(), float).reshape(-1, 3).T


def test_points_give_precision_and_score_at_every_recall_point(evaluation: jaxmap.Evaluation) -> None:
    recall_points = np.array(evaluation.protocol.recall_points)
    for label, text in enumerate(points_of_curves(evaluation)):
        recall, precision, scores = curve(text)
        assert len(recall) < len(recall_points)
        # The first point at or above a recall: so the script reads them, and so precision is interpolated.
        read = np.searchsorted(recall, recall_points - 1e-9)
        np.testing.assert_allclose(precision[read], evaluation.precision[0, :, label, 0, -1], rtol=1e-3)
        np.testing.assert_allclose(scores[read], evaluation.scores[0, :, label, 0, -1], rtol=1e-3)


def test_curves_stand_at_the_rows_of_their_classes(evaluation: jaxmap.Evaluation) -> None:
    rows = [one for tag, one in Page(report_page(evaluation)).elements if tag == "tr" and "data-curve" in one]
    points = points_of_curves(evaluation)
    assert len(rows) == len(points)
    assert all(row["data-curve"] == points[int(str(row["id"]).removeprefix("class-"))] for row in rows)


def test_classes_without_ground_truth_have_no_curve() -> None:
    one = {"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [1]}
    evaluation = jaxmap.evaluate([one | {"scores": [0.25]}], [one], num_classes=3)
    assert points_of_curves(evaluation) == ["", "0 1 0.25 1 1 0.25", ""]


def test_points_are_bounded(evaluation: jaxmap.Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [curve(text) for text in points_of_curves(evaluation)]
    monkeypatch.setattr(_explorer, "_MOST_POINTS", 50)
    few = [curve(text) for text in points_of_curves(evaluation)]
    assert max(map(np.size, few)) == 3 * 50 // len(few)
    for some, every in zip(few, whole, strict=True):
        assert set(map(tuple, some.T)) <= set(map(tuple, every.T))
        assert some[0, -1] == 1.0


def test_plot_says_where_its_axes_are(evaluation: jaxmap.Evaluation) -> None:
    text = report_page(evaluation)
    (frame,) = [one["data-frame"] for _, one in Page(text).elements if "data-frame" in one]
    left, bottom, right, top = map(float, str(frame).split())
    # The line of the best class, as matplotlib draws it, begins at recall 0 and ends at recall 1.
    (path,) = re.findall(r'<g id="precision-recall-curves-line-0">\s*<path d="([^"]*)"', text)
    drawn = np.array(re.findall(r"[ML] ?(-?[\d.]+) (-?[\d.]+)", path), float)
    best = int(np.nanargmax(evaluation.per_class()["AP50"]))
    precision = evaluation.precision[0, :, best, 0, -1]
    expected = [
        [left, bottom + precision[0] * (top - bottom)],
        [right, bottom + precision[-1] * (top - bottom)],
    ]
    np.testing.assert_allclose(drawn[[0, -1]], expected, atol=0.02)


def test_few_grey_lines_stand_for_many_classes() -> None:
    rows = [{"boxes": [[0.0, 0.0, 10.0, 10.0]], "labels": [label]} for label in range(40)]
    evaluation = jaxmap.evaluate([row | {"scores": [0.5]} for row in rows], rows)
    axes = jaxmap.plots.precision_recall_curves(evaluation, limit=4, max_others=6)
    assert len(axes.get_lines()) == 10
    assert "6 of 36 other classes" in [text.get_text() for text in axes.get_legend().get_texts()]
