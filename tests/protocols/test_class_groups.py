"""Groups of classes under any protocol: the mean over the classes of each, on the host, in a state, inside `jit`."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap import COCO, LVIS, VOC2012, EvaluationProtocol, io
from jaxmap.protocols import SummaryRow

NAMES = ("cat", "dog", "car", "rose", "never there")
GROUPS: dict[str, list[str | int]] = {"base": ["cat", 2], "novel": ["rose"], "empty": [4]}
OF_CLASS = ("base", "", "base", "novel", "empty")


def scene(num_images: int = 20) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns padded boxes of four classes: each object is found with an error of its own, and some are confused."""
    rng = np.random.default_rng(5)
    corner = rng.integers(0, 60, (num_images, 6, 2)).astype(np.float32)
    truth = np.concatenate([corner, corner + 30], axis=2)
    labels = rng.integers(0, 4, (num_images, 6))
    confused = np.where(rng.random(labels.shape) < 0.2, (labels + 1) % 4, labels)
    moved = truth + rng.integers(-4, 5, truth.shape).astype(np.float32)
    scores = rng.permutation(num_images * 6).reshape(num_images, 6).astype(np.float32) / 256
    return {"boxes": moved, "scores": scores, "labels": confused}, {"boxes": truth, "labels": labels}


def by_hand(evaluation: jaxmap.Evaluation, group: list[int], number: str = "AP") -> float:
    values = [evaluation.per_class()[number][label] for label in group]
    return float(np.mean([value for value in values if not math.isnan(value)]))


@pytest.mark.parametrize("protocol", [COCO, VOC2012, LVIS])
def test_a_group_is_the_mean_over_its_classes(protocol: EvaluationProtocol) -> None:
    evaluation = jaxmap.evaluate(*scene(), protocol=protocol, class_names=NAMES, class_groups=GROUPS)
    plain = jaxmap.evaluate(*scene(), protocol=protocol, class_names=NAMES)
    prefix = "AP" if protocol is LVIS else "AP_"
    assert evaluation.summary[f"{prefix}base"] == pytest.approx(by_hand(evaluation, [0, 2]), abs=1e-15)
    assert evaluation.summary[f"{prefix}novel"] == pytest.approx(by_hand(evaluation, [3]), abs=1e-15)
    assert math.isnan(evaluation.summary[f"{prefix}empty"])
    others = {name: value for name, value in evaluation.summary.items() if name in plain.summary}
    assert others == pytest.approx({name: plain.summary[name] for name in others}, abs=0, nan_ok=True)
    assert set(plain.summary) - set(others) == ({"APr", "APc", "APf"} if protocol is LVIS else set())
    np.testing.assert_array_equal(evaluation.precision, plain.precision)


def test_groups_follow_into_parts_of_the_data_and_replicates() -> None:
    evaluation = jaxmap.evaluate(*scene(), class_names=NAMES, class_groups=GROUPS)
    half = np.arange(20) < 10
    part = evaluation.of_images(half)
    assert part.summary["AP_base"] == pytest.approx(by_hand(part, [0, 2]), abs=1e-15)
    interval = evaluation.bootstrap(50).summary["AP_base"]
    assert interval.value == pytest.approx(evaluation.summary["AP_base"], abs=1e-12)
    assert interval.low < interval.value < interval.high
    table = str(evaluation)
    assert re.search(r"class=  base \| maxDets=100 ] = 0\.\d{3}", table)


@pytest.mark.parametrize("kind", ["fixed", "host"])
def test_a_state_has_the_same_groups(kind: str) -> None:
    found, truth = scene()
    options: dict[str, Any] = {
        "num_classes": 5,
        "protocol": COCO.with_class_groups(["base", "novel", "empty"]),
        "class_group": OF_CLASS,
    }
    metric: Any = jaxmap.AveragePrecision(**options, max_images=20)
    if kind == "host":
        metric = jaxmap.metrics.HostAveragePrecision(**options)
    state = metric.update(
        metric.init(), jaxmap.Detections(**found), jaxmap.GroundTruths(**truth), image_id=np.arange(20)
    )
    expected = jaxmap.evaluate(found, truth, class_names=NAMES, class_groups=GROUPS)
    numbers = metric.summarize(metric.compute(state))
    assert {name: numbers[name] for name in expected.summary} == pytest.approx(expected.summary, abs=0, nan_ok=True)
    from_state = metric.evaluation(state, class_names=NAMES)
    assert from_state.summary == pytest.approx(expected.summary, abs=0, nan_ok=True)
    assert from_state.dataset.class_group.tolist() == expected.dataset.class_group.tolist() == list(OF_CLASS)


@pytest.mark.slow
def test_groups_inside_jit() -> None:
    found, truth = scene()
    protocol = COCO.with_class_groups(["base", "novel", "empty"])

    @jax.jit
    def numbers(found: jaxmap.Detections, truth: jaxmap.GroundTruths) -> dict[str, jax.Array]:
        return jaxmap.average_precision(found, truth, num_classes=5, protocol=protocol, class_group=OF_CLASS)

    arrays = [{name: jnp.asarray(value) for name, value in side.items()} for side in (found, truth)]
    result = numbers(jaxmap.Detections(**arrays[0]), jaxmap.GroundTruths(**arrays[1]))
    expected = jaxmap.evaluate(found, truth, class_names=NAMES, class_groups=GROUPS).summary
    assert float(result["AP_empty"]) == -1
    for name in ("AP", "AP_base", "AP_novel"):
        assert float(result[name]) == pytest.approx(expected[name], rel=0, abs=1e-6)


def test_a_row_for_groups_that_is_there_already_is_used() -> None:
    row = SummaryRow("{group}50", iou_threshold=0.5, each="class_group")
    mine = dataclasses.replace(COCO, summary=(SummaryRow("AP"), row)).with_class_groups(["a", "b"])
    assert [number.name for number in mine.numbers()] == ["AP", "a50", "b50"]
    assert [number.name for number in LVIS.with_class_groups(["base"]).numbers()][6:8] == ["APbase", "AR@300"]
    assert COCO.with_class_groups(["a"]).with_class_groups(["b"]) == COCO.with_class_groups(["b"])


def test_classes_may_be_named_by_ids_of_any_kind() -> None:
    found, truth = io.demo_scene(20)
    renamed = dataclasses.replace(truth, class_ids=np.array([f"c{one}" for one in truth.class_ids.tolist()]))
    by_name = jaxmap.evaluate(found, truth, class_groups={"a": ["person", "car"]}).summary
    for table, group in ((truth, [np.int64(1), 2]), (truth, ["1", "2"]), (renamed, ["c1", "car"])):
        assert jaxmap.evaluate(found, table, class_groups={"a": group}).summary["AP_a"] == by_name["AP_a"]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"a": ["cat", "cow"]}, ValueError, "but 'cow' is unknown. The classes are 'cat' (0), 'dog' (1), 'car' (2)"),
        ({"a": [5]}, ValueError, "but 5 is unknown"),
        ({"a": [True]}, ValueError, "but True is unknown"),
        ({"a": ["cat"], "b": ["dog", 0]}, ValueError, "but 'cat' is in 'a' and in 'b'"),
        ({}, ValueError, "`class_groups` must hold at least one name, got none"),
        ({"": ["cat"]}, ValueError, "`class_groups` must not hold an empty name"),
        ({"a": "cat"}, TypeError, "`class_groups['a']` must be a sequence of class names or ids, got 'cat'"),
        (["cat"], TypeError, "`class_groups` must map the name of a group to its classes, got list"),
    ],
)
def test_bad_groups_are_refused(groups: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        jaxmap.evaluate(*scene(), class_names=NAMES, class_groups=groups)


def test_groups_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="'cat' is the name of 2 classes; give their ids"):
        jaxmap.evaluate(*scene(), class_names=["cat", "cat", "a", "b"], class_groups={"a": ["cat"]})
    with pytest.raises(ValueError, match="`class_groups` must be None if all classes are scored as one"):
        jaxmap.evaluate(*scene(), class_names=NAMES, class_groups=GROUPS, class_agnostic=True)
    clash = dataclasses.replace(COCO, summary=(SummaryRow("AP"), SummaryRow("AP_a", iou_threshold=0.5)))
    with pytest.raises(ValueError, match="`summary` must have distinct names, got 'AP_a' more than once"):
        clash.with_class_groups(["a"])
    one, other = (jaxmap.evaluate(*scene(), class_names=NAMES, class_groups={"a": [label]}) for label in (0, 1))
    with pytest.raises(ValueError, match="'A' and 'B' have different groups of classes"):
        jaxmap.compare(one, other)
