"""What can be asked of a state: all that can be asked of `evaluate`, but for what needs boxes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest

import jaxmap
from jaxmap import plots, report
from support.batches import batches, dataset, metric

# `HostAveragePrecision` has a program of its own.
compiled = jax.jit(jaxmap.AveragePrecision.update)

METRICS = {
    "fixed": metric(),
    "host": jaxmap.metrics.HostAveragePrecision(num_classes=1, box_format="xywh"),
}


@functools.cache
def filled(name: str) -> tuple[Any, Any]:
    """Returns a metric and its state after the small dataset."""
    one = METRICS[name]
    return one, after_all_batches(one, compiled if name == "fixed" else type(one).update)


def after_all_batches(metric: Any, update: Any, **changes: Any) -> Any:
    state = metric.init()
    for batch in batches():
        arguments = {key: batch[key] for key in ("detections", "ground_truths", "image_id")}
        arguments["detections"] = dataclasses.replace(arguments["detections"], **changes)
        state = update(metric, state, **arguments, valid=batch["mask"] == 1)
    return state


def plain(columns: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: np.asarray(column).tolist() for name, column in columns.items()}


@pytest.mark.parametrize("name", METRICS)
def test_state_answers_as_the_arrays_do(name: str) -> None:
    one, state = filled(name)
    from_state = one.evaluation(state, class_names=["thing"])
    expected = jaxmap.evaluate(*dataset(), box_format="xywh", class_names=["thing"])
    assert from_state.summary == expected.summary
    assert from_state.class_names == ("thing",)
    for table in ("per_class", "per_image", "operating_points"):
        np.testing.assert_equal(plain(getattr(from_state, table)()), plain(getattr(expected, table)()))
    assert from_state.explain().to_dict() == expected.explain().to_dict()
    assert from_state.calibration().to_dict() == expected.calibration().to_dict()
    ties, expected_ties = from_state.tie_bounds().to_dict(), expected.tie_bounds().to_dict()
    assert expected_ties["num_tied"] > 0
    assert ties == expected_ties | {"num_contested": None}
    sets = {"matching": "score", "score_threshold": 0.5}
    assert from_state.precision_recall_f1(**sets).to_dict() == expected.precision_recall_f1(**sets).to_dict()
    worst = expected.explain().false_positives(3)
    image_id, detection = worst["image_id"][0], worst["detection"][0]
    np.testing.assert_equal(
        from_state.explain().outranked(image_id, detection), expected.explain().outranked(image_id, detection)
    )


def test_images_go_by_the_names_that_are_given() -> None:
    one, state = filled("fixed")
    names = {image: f"val/{image:03}.png" for image in range(12)}
    assert one.evaluation(state, image_names=names).per_image()["image_id"].tolist() == list(names.values())
    del names[3], names[7]
    with pytest.raises(ValueError, match=r"`image_names` must name every image, got none for 2 ids such as \[3, 7\]"):
        one.evaluation(state, image_names=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["one", "two"], "`class_names` must be 1 names, one for each class"),
        ("x", "`class_names` must be 1 names"),
        ({1: "x"}, r"`class_names` must name every class from 0 to 0, got none for \[0\]"),
    ],
)
def test_names_of_classes_that_do_not_fit(names: Any, message: str) -> None:
    one, state = filled("fixed")
    with pytest.raises(ValueError, match=message):
        one.evaluation(state, class_names=names)


@pytest.mark.parametrize("name", METRICS)
def test_detections_without_scores_are_sets_with_the_score_one(name: str) -> None:
    one = METRICS[name]
    state = after_all_batches(one, compiled if name == "fixed" else type(one).update, scores=None)
    from_state = one.evaluation(state)
    found, truth = dataset()
    expected = jaxmap.evaluate(dataclasses.replace(found, scores=None), truth, box_format="xywh")
    assert not from_state.dataset.ranked
    with pytest.warns(UserWarning, match=r"depends on the order of the rows: from 0\.\d+ to 0\.\d+"):
        assert from_state.summary == expected.summary
    by_rows = (one.precision_recall_f1(matching="score") for one in (from_state, expected))
    assert len({str(rates.to_dict()["micro"]) for rates in by_rows}) == 1
    with pytest.raises(ValueError, match=r"`precision_recall_f1\(matching='optimal'\)` needs the boxes of both sides"):
        from_state.precision_recall_f1()


@pytest.mark.parametrize(
    "method", ["matches", "confusion_matrix", "localisation_recall_precision", "error_types", "cgf1"]
)
def test_what_needs_boxes_says_so(method: str) -> None:
    one, state = filled("fixed")
    with pytest.raises(ValueError, match=f"`{method}` needs the boxes of both sides, .* call `jaxmap.evaluate`"):
        getattr(one.evaluation(state), method)()
    with pytest.raises(ValueError, match=r"`calibration\(by=...\)` needs the boxes of both sides"):
        one.evaluation(state).calibration(by=["position"])


@pytest.mark.slow
def test_overflow_raises_unless_it_is_allowed() -> None:
    small = metric(max_images=10)
    state = after_all_batches(small, compiled)
    with pytest.raises(ValueError, match="num_images_over_capacity = 2"):
        small.evaluation(state)
    assert len(small.evaluation(state, allow_overflow=True).image_ids) == 10


def test_state_that_saw_nothing_has_no_number() -> None:
    one = METRICS["fixed"]
    evaluation = one.evaluation(one.init())
    assert np.isnan(list(evaluation.summary.values())).all()
    assert not len(evaluation.image_ids)


def test_report_and_plots_read_a_state(tmp_path: Any) -> None:
    one, state = filled("fixed")
    evaluation = one.evaluation(jax.device_get(state))
    report.write_report(evaluation, tmp_path)
    assert "Average Precision" in (tmp_path / "index.html").read_text()
    for draw in (plots.confusion_matrix, plots.error_types, plots.localisation_recall_precision):
        [text] = draw(evaluation).texts
        assert "need" in text.get_text()
        assert "boxes, which the state of a metric does not keep" in text.get_text().replace("\n", " ")
