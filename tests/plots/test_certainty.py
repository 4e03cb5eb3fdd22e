"""Pictures of intervals, differences and learning curves draw the numbers of their analyses, and fit their frame."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import jaxmap
from jaxmap import io, plots
from jaxmap.analysis import sequential_comparison

NOTHING: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}


def detectors(num_images: int = 60) -> list[jaxmap.Evaluation]:
    """Returns the demo scene; its detections moved to the right; and the same with every third score lowered."""
    found, truth = io.demo_scene(num_images)
    moved = dataclasses.replace(found, boxes=found.boxes + np.array([6.0, 0, 0, 0]))
    lowered = dataclasses.replace(found, scores=np.where(np.arange(len(found.scores)) % 3, found.scores, 0.01))
    return [jaxmap.evaluate(one, truth) for one in (found, moved, lowered)]


@pytest.fixture(scope="module")
def evaluation() -> jaxmap.Evaluation:
    return detectors()[0]


@pytest.fixture(scope="module")
def comparison() -> jaxmap.analysis.Comparison:
    return jaxmap.compare(*detectors(), num_replicates=60, names=["first $x$", "moved", "lowered"])


def segments(axes: Axes) -> list[tuple[float, float, float]]:
    """Returns the place and the two ends of every bar."""
    from matplotlib.collections import LineCollection

    [bars] = [one for one in axes.collections if isinstance(one, LineCollection)]
    return [(path[0][1], path[0][0], path[1][0]) for path in map(np.asarray, bars.get_segments())]


def marks(axes: Axes) -> list[tuple[float, float]]:
    """Returns the value and the place of every mark."""
    from matplotlib.collections import PathCollection

    [points] = [one for one in axes.collections if isinstance(one, PathCollection)]
    return [(float(x), float(y)) for x, y in np.asarray(points.get_offsets())]


def test_intervals_are_those_of_the_bootstrap(evaluation: jaxmap.Evaluation) -> None:
    bootstrap = evaluation.bootstrap(60, confidence=0.9)
    axes = plots.intervals(bootstrap)
    rows = list(bootstrap.summary.values())
    assert [label.get_text() for label in axes.get_yticklabels()] == list(bootstrap.summary)
    assert marks(axes) == [(row.value, place) for place, row in enumerate(rows)]
    assert segments(axes) == [(place, row.low, row.high) for place, row in enumerate(rows)]
    assert [text.get_text() for text in axes.texts] == [f"{row.value:.3f}" for row in rows]
    assert (axes.get_title(), axes.get_xlabel()) == ("90% intervals, 60 replicates", "value, from 0 to 1")
    assert axes.get_ylabel() == "number of the summary"


def test_undefined_and_repeated_numbers_have_no_row() -> None:
    found, truth = io.demo_scene(40)
    one = jaxmap.evaluate(found, truth, iou_thresholds=[0.5], area_ranges={"tiny": (0, 1)})
    axes = plots.intervals(one.bootstrap(20))
    # AP50 is AP, AP75 has no threshold, and no object is tiny.
    assert [label.get_text() for label in axes.get_yticklabels()] == ["AP", "AR1", "AR10", "AR100"]


def test_differences_are_those_of_the_comparison(comparison: jaxmap.analysis.Comparison) -> None:
    axes = plots.differences(comparison)
    changes = sorted((one.difference for one in comparison.of_class["moved"]), key=lambda one: -one.value)
    assert [value for value, _ in marks(axes)] == [one.value for one in changes]
    assert segments(axes) == [(place, one.low, one.high) for place, one in enumerate(changes)]
    assert axes.get_xlabel() == r"AP of moved minus AP of first \$x\$"
    assert axes.get_title() == "Difference in AP, 95% intervals, all classes"
    assert axes.get_ylabel() == "class"
    [zero] = axes.get_lines()
    assert list(map(float, zero.get_xdata())) == [0, 0]  # type: ignore[arg-type]
    legend = axes.get_legend()
    assert legend is not None
    assert "worse" in [text.get_text() for text in legend.get_texts()]


def test_the_largest_differences_are_drawn(comparison: jaxmap.analysis.Comparison) -> None:
    axes = plots.differences(comparison, model="lowered", limit=4)
    changes = [one.difference.value for one in comparison.of_class["lowered"]]
    largest = sorted(sorted(changes, key=abs)[-4:], reverse=True)
    assert [value for value, _ in marks(axes)] == largest
    names = [comparison.class_names[changes.index(value)] for value in largest]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_title().endswith("4 of 10 classes")
    with pytest.raises(ValueError, match=r"`model` must be one of \['moved', 'lowered'\], got 'first \$x\$'"):
        plots.differences(comparison, model="first $x$")


def test_learning_curves_are_those_of_the_samples(evaluation: jaxmap.Evaluation) -> None:
    columns = evaluation.learning_curve([10, 30, 60], num_samples=8)
    axes = plots.learning_curve(columns, number="AP50")
    rows = [row for row, name in enumerate(columns["number"]) if name == "AP50"]
    [line] = axes.get_lines()
    assert np.asarray(line.get_xdata()).tolist() == [10, 30, 60]
    assert np.asarray(line.get_ydata()).tolist() == columns["mean"][rows].tolist()
    [band] = axes.collections
    corners = {tuple(corner) for corner in np.asarray(band.get_paths()[0].vertices).tolist()}
    for end in ("low", "high"):
        assert set(zip([10.0, 30.0, 60.0], columns[end][rows].tolist(), strict=True)) <= corners
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("number of images", "AP50", "log")
    assert plots.learning_curve(columns).get_ylabel() == "AP"
    with pytest.raises(ValueError, match=r"`number` must be one of .*, got 'AP99'"):
        plots.learning_curve(columns, number="AP99")


def test_looks_are_those_of_a_sequential_comparison(comparison: jaxmap.analysis.Comparison) -> None:
    columns = sequential_comparison(comparison, [20, 60])
    axes = plots.sequential_comparison(columns, model="lowered")
    rows = [row for row, name in enumerate(columns["model"]) if name == "lowered"]
    line, zero = axes.get_lines()
    assert np.asarray(line.get_xdata()).tolist() == [20, 60]
    assert np.asarray(line.get_ydata()).tolist() == columns["difference"][rows].tolist()
    assert set(np.asarray(zero.get_ydata()).tolist()) == {0}
    [band] = axes.collections
    corners = {tuple(corner) for corner in np.asarray(band.get_paths()[0].vertices).tolist()}
    for end in ("low", "high"):
        assert set(zip([20.0, 60.0], columns[end][rows].tolist(), strict=True)) <= corners
    assert axes.get_title() == "lowered minus the first detector"
    assert plots.sequential_comparison(columns).get_title() == "moved minus the first detector"
    with pytest.raises(ValueError, match=r"`model` must be one of \['moved', 'lowered'\], got 'x'"):
        plots.sequential_comparison(columns, model="x")


def drawn(evaluation: jaxmap.Evaluation, comparison: jaxmap.analysis.Comparison) -> list[Callable[..., Axes]]:
    bootstrap, curve = evaluation.bootstrap(20), evaluation.learning_curve(num_samples=4)
    looks = sequential_comparison(comparison, [20, 60])
    return [
        lambda axes=None: plots.intervals(bootstrap, axes),
        lambda axes=None: plots.differences(comparison, axes),
        lambda axes=None: plots.learning_curve(curve, axes),
        lambda axes=None: plots.sequential_comparison(looks, axes),
    ]


def test_no_text_is_cut_off(evaluation: jaxmap.Evaluation, comparison: jaxmap.analysis.Comparison) -> None:
    for draw in drawn(evaluation, comparison):
        figure = draw().figure
        canvas = FigureCanvasAgg(figure)  # type: ignore[arg-type]
        canvas.draw()
        frame = figure.get_tightbbox(canvas.get_renderer())  # type: ignore[no-untyped-call,union-attr]
        pixel = 1 / figure.dpi
        assert frame is not None
        assert -pixel < frame.x0 < frame.x1 < figure.get_figwidth() + pixel  # type: ignore[union-attr]
        assert -pixel < frame.y0 < frame.y1 < figure.get_figheight() + pixel  # type: ignore[union-attr]


def test_pictures_go_onto_given_axes(evaluation: jaxmap.Evaluation, comparison: jaxmap.analysis.Comparison) -> None:
    for draw in drawn(evaluation, comparison):
        axes = Figure().add_subplot()
        assert draw(axes) is axes


def test_a_sentence_says_why_there_is_nothing_to_draw() -> None:
    empty = jaxmap.evaluate([NOTHING | {"scores": np.zeros(0)}] * 2, [NOTHING] * 2, num_classes=1)
    comparison = jaxmap.compare(empty, empty, num_replicates=20)
    for axes in (
        plots.intervals(empty.bootstrap(2)),
        plots.differences(comparison),
        plots.learning_curve(empty.learning_curve(num_samples=2)),
        plots.sequential_comparison(sequential_comparison(comparison)),
    ):
        assert not axes.has_data()
        [text] = axes.texts
        assert "no counted ground truth" in " ".join(text.get_text().split())


def test_missing_matplotlib_says_what_to_install(
    evaluation: jaxmap.Evaluation, comparison: jaxmap.analysis.Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = drawn(evaluation, comparison)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in every:
        with pytest.raises(ImportError, match=r"pip install 'jaxmap\[plot\]'"):
            draw()
