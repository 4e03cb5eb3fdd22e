"""The table of quantities: what a row says is what evaluations, states, tables and curves compute."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmap import COCO, AveragePrecision, Detections, EvaluationProtocol, GroundTruths, average_precision, evaluate
from jaxmap.metrics import HistogramAveragePrecision, HostAveragePrecision
from jaxmap.protocols import PROTOCOLS, QUANTITIES, SummaryRow

NUM_CLASSES = 3
OF_BOXES = [protocol for protocol in PROTOCOLS.values() if protocol.iou_type == "bbox"]
F1 = dataclasses.replace(
    COCO,
    name="coco-f1",
    summary=(
        *COCO.summary,
        SummaryRow("F1", "f1"),
        SummaryRow("F1@50", "f1", iou_threshold=0.5),
        SummaryRow("F1{area}", "f1", each="area"),
        SummaryRow("F1@{limit}", "f1", each="limit"),
    ),
)


def scene(seed: int, num_images: int = 12) -> tuple[Detections, GroundTruths]:
    """Returns padded boxes of scores with many ties; class 2 has no ground truth."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (num_images, 6, 2))
    truth = np.concatenate([corner, corner + rng.integers(8, 60, (num_images, 6, 2))], axis=2).astype(np.float32)
    found = np.concatenate([truth, truth[:, :4]], axis=1) + rng.integers(-3, 4, (num_images, 10, 4)).astype(np.float32)
    labels = rng.integers(0, 2, (num_images, 6))
    found_labels = np.concatenate([labels, rng.integers(0, NUM_CLASSES, (num_images, 4))], axis=1)
    return (
        Detections(
            boxes=found,
            scores=(rng.integers(1, 8, (num_images, 10)) / 8).astype(np.float32),
            labels=found_labels,
            valid=rng.random((num_images, 10)) < 0.8,
        ),
        GroundTruths(
            boxes=truth,
            labels=labels,
            crowd=rng.random((num_images, 6)) < 0.1,
            valid=rng.random((num_images, 6)) < 0.8,
        ),
    )


def best_f1(detections: Detections, truth: GroundTruths, protocol: EvaluationProtocol = F1, **options: object) -> float:
    evaluation = evaluate(detections, truth, protocol=protocol, num_classes=NUM_CLASSES)
    curves = (
        evaluation.curve(threshold, class_id, **options)  # type: ignore[arg-type]
        for threshold in protocol.iou_thresholds
        for class_id in evaluation.class_ids.tolist()
    )
    return float(np.nanmean([curve.best.f_score for curve in curves]))


@pytest.mark.parametrize("seed", range(5))
def test_best_f1_is_that_of_the_curves_against_the_score(seed: int) -> None:
    found, truth = scene(seed)
    evaluation = evaluate(found, truth, protocol=F1, num_classes=NUM_CLASSES)
    summary = evaluation.summary
    assert 0.1 < summary["F1"] == pytest.approx(best_f1(found, truth), abs=1e-12)
    assert summary["F1@1"] == pytest.approx(best_f1(found, truth, max_detections=1), abs=1e-12)
    assert summary["F1s"] == pytest.approx(best_f1(found, truth, area="small"), abs=1e-12)
    per_class = evaluation.per_class()
    expected = [evaluation.curve(0.5, class_id).best.f_score for class_id in range(NUM_CLASSES)]
    np.testing.assert_allclose(per_class["F1@50"], expected, rtol=0, atol=1e-12)
    assert np.isnan(per_class["F1"][2])  # a class without ground truth
    usual = evaluate(found, truth, num_classes=NUM_CLASSES).summary
    assert {name: summary[name] for name in usual} == pytest.approx(usual, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("protocol", [F1, *OF_BOXES], ids=lambda protocol: protocol.name)
def test_the_summary_is_that_of_all_curves(protocol: EvaluationProtocol) -> None:
    """Only the precision that the summary averages is integrated, until `curves` are asked for."""
    evaluation = evaluate(*scene(0), protocol=protocol, num_classes=NUM_CLASSES)
    summary, per_class = evaluation.summary, evaluation.per_class()
    assert "curves" not in vars(evaluation)
    whole = dataclasses.replace(evaluation, summary_curves=evaluation.curves)
    assert whole.summary == pytest.approx(summary, rel=0, abs=0, nan_ok=True)
    for name, column in whole.per_class().items():
        np.testing.assert_array_equal(column, per_class[name], err_msg=name)
    np.testing.assert_array_equal(evaluation.curves.recall, evaluation.recall)


def test_best_f1_per_image_is_that_of_each_image_alone() -> None:
    found, truth = scene(0)
    columns = evaluate(found, truth, protocol=F1, num_classes=NUM_CLASSES).per_image()
    for index in range(len(found.labels)):
        alone = jax.tree.map(lambda leaf, row=index: leaf[row : row + 1], (found, truth))
        summary = evaluate(*alone, protocol=F1, num_classes=NUM_CLASSES).summary
        for name in ("AP", "F1", "F1@50"):
            assert columns[name][index] == pytest.approx(summary[name], abs=1e-12)


@pytest.mark.slow
def test_best_f1_from_states_and_inside_jit() -> None:
    found, truth = scene(0)
    expected = evaluate(found, truth, protocol=F1, num_classes=NUM_CLASSES).summary
    metric = AveragePrecision(num_classes=NUM_CLASSES, max_images=12, protocol=F1)
    image_id = jnp.arange(len(found.labels))
    state = jax.jit(metric.update)(metric.init(), found, truth, image_id=image_id)
    on_host, on_device = metric.summarize(metric.compute(state)), metric.summarize(jax.jit(metric.compute)(state))
    in_jit = jax.jit(average_precision, static_argnames=("num_classes", "protocol"))(
        found, truth, num_classes=NUM_CLASSES, protocol=F1
    )
    rows = HostAveragePrecision(num_classes=NUM_CLASSES, protocol=F1)
    in_rows = rows.summarize(rows.compute(rows.update(rows.init(), found, truth, image_id=image_id)))
    bins = HistogramAveragePrecision(num_classes=NUM_CLASSES, num_bins=8, score_range=(1 / 16, 17 / 16), protocol=F1)
    in_bins = bins.summarize(bins.compute(jax.jit(bins.update)(bins.init(), found, truth, image_id=image_id)))
    for name, value in expected.items():
        assert [on_host[name], in_rows[name]] == pytest.approx([value] * 2, rel=0, abs=0, nan_ok=True)
        assert on_device[name] == pytest.approx(value, abs=1e-6, nan_ok=True)
        assert float(in_jit[name]) == pytest.approx(-1.0 if np.isnan(value) else value, abs=1e-6)
    assert metric.evaluation(state).summary == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
    assert in_bins["F1"] == pytest.approx(expected["F1"], abs=1e-6)  # every score has a bin of its own


def test_best_f1_without_detections_or_ground_truth() -> None:
    found, truth = scene(0)
    nothing = np.zeros_like(found.valid)
    no_detections = evaluate(dataclasses.replace(found, valid=nothing), truth, protocol=F1, num_classes=NUM_CLASSES)
    assert no_detections.summary["F1"] == 0.0
    no_truth = dataclasses.replace(truth, valid=np.zeros_like(truth.valid))
    assert np.isnan(evaluate(found, no_truth, protocol=F1, num_classes=NUM_CLASSES).summary["F1"])


def test_tables_take_titles_from_the_rows() -> None:
    found, truth = scene(0)
    text = str(evaluate(found, truth, protocol=F1, num_classes=NUM_CLASSES))
    headings = {line.split(" @[")[0].strip() for line in text.splitlines()}
    assert headings == {"Average Precision  (AP)", "Average Recall     (AR)", "Best F1            (F1)"}
    for quantity in QUANTITIES.values():
        assert quantity.title
        assert quantity.short
        assert quantity.unit
        assert quantity.source
        assert bool(quantity.fields) != (quantity.of_counts is not None)
