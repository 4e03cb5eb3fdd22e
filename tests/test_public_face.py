"""What a user sees: the names behind TAB, what objects print, and what a notebook shows."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import COCO, Candidates, Detections, Evaluation, EvaluationProtocol, GroundTruths, metrics
from jaxmap._display import Columns
from jaxmap._panoptic._quality import panoptic_quality

ROOMS = ("adapters", "analysis", "distributed", "interop", "io", "metrics", "plots", "protocols", "report", "types")
LONGEST = 260  # characters of a `repr`


@functools.cache
def batch() -> tuple[Detections, GroundTruths]:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 60, (100, 6, 2))
    boxes = np.concatenate([corner, corner + rng.integers(8, 60, (100, 6, 2))], axis=2).astype(np.float32)
    labels = rng.integers(0, 3, (100, 6))
    moved = boxes + rng.integers(-2, 3, boxes.shape).astype(np.float32)
    scores = rng.random((100, 6)).astype(np.float32)
    return Detections(boxes=moved, scores=scores, labels=labels), GroundTruths(boxes=boxes, labels=labels)


@functools.cache
def evaluation() -> Evaluation:
    return jaxmap.evaluate(*batch(), class_names=["cat", "dog", "<b>"])


@functools.cache
def things() -> dict[str, Any]:
    """Returns one of everything that a user can hold."""
    found, truth = batch()
    one = evaluation()
    assert one.matched is not None
    image_id = jnp.arange(100)
    exact = metrics.AveragePrecision(num_classes=3, max_images=100)
    state = exact.update(exact.init(), found, truth, image_id=image_id)
    on_host = metrics.HostAveragePrecision(num_classes=3, protocol="voc2012")
    host_state = on_host.update(on_host.init(), found, truth, image_id=image_id)
    made = {
        "confusion": metrics.ConfusionMatrix(num_classes=3),
        "histogram": metrics.HistogramAveragePrecision(num_classes=3),
        "ranking": metrics.MeanAveragePrecisionAtK(k=3),
        "panoptic": metrics.PanopticQuality(num_classes=3),
        "semantic": metrics.SemanticSegmentation(num_classes=3),
        "pixels": metrics.PixelAveragePrecision(num_classes=3),
    }
    states = {f"{name} state": metric.init() for name, metric in made.items()}
    results = {f"{name} result": metric.compute(states[f"{name} state"]) for name, metric in made.items()}
    segments = [{"segments": np.ones((4, 4), int), "ids": [1], "labels": [0]}]
    return {
        "evaluation": one,
        "detections": found,
        "ground truths": truth,
        "candidates": Candidates(index=jnp.zeros((3, 2), jnp.int32), level=jnp.zeros((3, 2), jnp.int8)),
        "matched": one.matched,
        "detection table": one.matched.detections,
        "ground-truth table": one.matched.ground_truths,
        "dataset": one.dataset,
        "records": one.dataset.records,
        "rows": one.dataset.records.detections,
        "truth rows": one.dataset.records.ground_truths,
        "curves": one.curves,
        "explanation": one.explain(),
        "score curve": one.curve(),
        "point": one.curve().best,
        "ties": one.tie_bounds(),
        "confusions": one.confusion_matrix(),
        "errors": one.error_types(),
        "per class": one.per_class(),
        "per image": one.per_image(),
        "points": one.operating_points(),
        "lrp": one.localisation_recall_precision(),
        "calibration": one.calibration(),
        "matches": one.matches(),
        "protocol": COCO,
        "long protocol": dataclasses.replace(COCO, iou_thresholds=tuple(np.linspace(0.1, 0.9, 500))),
        "exact": exact,
        "exact state": state,
        "exact result": exact.compute(state),
        "images": state.images,
        "host": on_host,
        "host state": host_state,
        "panoptic evaluation": panoptic_quality(segments, segments, num_classes=1),
        **made,
        **states,
        **results,
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_shows_what_it_promises(room: str) -> None:
    module = getattr(jaxmap, room)
    assert sorted(dir(module)) == sorted(getattr(module, "__all__", dir(module)))
    assert not [name for name in dir(module) if name.startswith("_")]
    assert "annotations" not in dir(module)


def test_the_package_shows_what_it_promises_and_loads_it_at_first_use() -> None:
    assert set(ROOMS) <= set(dir(jaxmap)) == set(jaxmap.__all__)
    code = (
        "import sys, jaxmap; print('jax' in sys.modules, 'numpy' in sys.modules);"
        f"print(*[getattr(jaxmap, room).__name__ for room in {ROOMS!r}]);"
        "print(jaxmap.interop.pycocotools.COCOeval.__name__, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = " ".join(f"jaxmap.{room}" for room in ROOMS)
    assert run.stdout.splitlines() == ["False False", rooms, "COCOeval False"]


@pytest.mark.slow
def test_the_stages_can_be_called_with_public_names_alone() -> None:
    candidates = jaxmap.Candidates(index=jnp.array([[0], [0]]), level=jnp.array([[1], [1]]))
    words = jaxmap.match(
        candidates,
        counted=jnp.asarray(jaxmap.area_words(1, 1)),
        crowd=jnp.array([False]),
        levels=jaxmap.level_words(1, 1),
    )
    matched = words[:, 0]
    assert jaxmap.read_plane(matched, 0, 0, 1).tolist() == [True, False]
    zeros = jnp.zeros(2, jnp.int32)
    records = jaxmap.Records(
        detections=jaxmap.DetectionRecords(
            scores=jnp.array([0.9, 0.8]),
            labels=zeros,
            image_index=zeros,
            position=jnp.arange(2),
            rank=jnp.arange(2),
            matched=matched,
            ignored=jnp.zeros_like(matched),
            valid=jnp.array([True, True]),
        ),
        ground_truths=jaxmap.GroundTruthRecords(labels=zeros[:1], image_index=zeros[:1], counted=jnp.array([[True]])),
    )
    protocol = COCO.customize(iou_thresholds=[0.5], max_detections=100, area_ranges={"all": (0, 1e10)})
    curves = jaxmap.precision_recall(records, protocol=protocol, num_classes=1)
    assert isinstance(curves, jaxmap.PrecisionRecall)
    assert float(curves.precision.mean()) == 1.0


@pytest.mark.parametrize("name", things())
def test_objects_print_short(name: str) -> None:
    text = repr(things()[name])
    assert len(text) <= LONGEST
    assert "\n" not in text
    assert "array(" not in text
    assert text.startswith(f"{type(things()[name]).__name__}")


def test_an_evaluation_prints_its_counts_and_its_first_number() -> None:
    average = evaluation().summary["AP"]
    protocol = "EvaluationProtocol('coco')"
    expected = f"Evaluation(protocol={protocol}, images=100, classes=3, detections=600, AP={average:.6g})"
    assert repr(evaluation()) == expected


def test_a_metric_prints_what_differs_and_a_state_what_it_counts() -> None:
    assert repr(things()["exact"]) == "AveragePrecision(num_classes=3, max_images=100)"
    host = "HostAveragePrecision(num_classes=3, protocol=EvaluationProtocol('voc2012'))"
    assert repr(things()["host"]) == host
    mine = dataclasses.replace(COCO, name="mine")
    assert repr(metrics.HostAveragePrecision(num_classes=3, protocol=mine)).endswith("EvaluationProtocol('mine', ...))")
    state = "AveragePrecisionState(images=ImageRows[100], num_images=100, configuration=uint32[2])"
    assert repr(things()["exact state"]) == state
    assert "num_images=int32[]" in repr(jax.eval_shape(things()["exact"].init))
    traced = []
    jax.jit(lambda state: traced.append(repr(state)))(things()["exact state"])
    assert "num_images=int32[]" in traced[0]
    assert repr(things()["per class"]).startswith("Columns(3 rows: class_id, class_name, num_ground_truths, AP, AP50")


@pytest.mark.parametrize(
    "name", ["evaluation", "explanation", "confusions", "errors", "per class", "ties", "panoptic evaluation"]
)
def test_a_notebook_shows_tables(name: str) -> None:
    page = things()[name]._repr_html_()
    assert page.startswith(("<table>", "<pre>"))
    assert "<b>" not in page
    if name == "evaluation":
        assert f"<td>{evaluation().summary['AP75']:.3f}</td>" in page
    if name in ("confusions", "per class"):
        assert "<td>&lt;b&gt;</td>" in page


def test_long_tables_are_cut_and_counted() -> None:
    page = Columns({f"c{number}": np.arange(60) for number in range(31)})._repr_html_()
    assert page.endswith("<p>and 10 more rows and 1 more column</p>")
    assert page.count("<tr>") == 51
    assert "<td>\N{EN DASH}</td>" in Columns(AP=np.array([np.nan]))._repr_html_()
    assert Columns()._repr_html_() == "<table><thead><tr></tr></thead><tbody></tbody></table>"


def test_a_notebook_shows_pictures() -> None:
    pytest.importorskip("matplotlib")
    for picture in (jaxmap.plots.iou_curves(evaluation()), jaxmap.plots.overview(evaluation())):
        assert picture._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(jaxmap.plots.f_score_curve(evaluation()))
    assert data["image/png"].startswith(b"\x89PNG")


def test_numbers_are_floats_and_columns_go_into_json() -> None:
    assert {type(value) for value in evaluation().summary.values()} == {float}
    exact = things()["exact"]
    assert {type(value) for value in exact.summarize(things()["exact result"]).values()} == {float, int}
    tables = [things()[name] for name in ("per class", "per image", "points", "matches")]
    explanation = evaluation().explain()
    tables += [explanation.steps(), explanation.false_positives(), explanation.images()]
    errors = things()["errors"]
    tables += [errors.table(), errors.per_class(), errors.detections(), errors.ground_truths()]
    for table in tables:
        assert isinstance(table, dict)
        assert {type(column) for column in table.values()} <= {np.ndarray, list}
        plain = {name: np.asarray(column, object).tolist() for name, column in table.items()}
        assert len({len(column) for column in plain.values()}) == 1
        json.dumps({name: column if isinstance(column, list) else column.tolist() for name, column in table.items()})


def test_keypoints_take_the_protocol_of_keypoints_unless_another_is_named() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 99, (4, 2, 17, 2)), np.full((4, 2, 17, 1), 2.0)], axis=3)
    truth = {"keypoints": points, "boxes": np.tile([0.0, 0.0, 99.0, 99.0], (4, 2, 1)), "labels": np.zeros((4, 2), int)}
    found = {"keypoints": points + 1, "scores": rng.random((4, 2)), "labels": np.zeros((4, 2), int)}
    one = jaxmap.evaluate(found, truth, iou_type="keypoints")
    other = jaxmap.evaluate(found, truth, protocol="coco-keypoints")
    assert one.protocol == jaxmap.COCO_KEYPOINTS
    assert one.summary == pytest.approx(other.summary, abs=0, nan_ok=True)
    with pytest.raises(ValueError, match="use the protocol `coco-keypoints`"):
        jaxmap.evaluate(found, truth, protocol=COCO, iou_type="keypoints")
    assert isinstance(jaxmap.evaluate(*batch()).protocol, EvaluationProtocol)
