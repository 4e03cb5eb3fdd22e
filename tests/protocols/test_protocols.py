"""A protocol is checked where it is made, whichever way it is made."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxmap
from jaxmap._summary import summary_lines
from jaxmap.protocols import COCO, LVIS, MAX_THRESHOLDS, PROTOCOLS, UNLIMITED, AreaRange, SummaryRow, get_protocol

NAN = float("nan")
FINE = {"max_detections": (1, 10), "iou_thresholds": (0.5, 0.75), "recall_points": (0.0, 0.5, 1.0)}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_detections", (100, 10, 1), "must be strictly ascending, got [100.0, 10.0, 1.0]"),
        ("max_detections", (1, 1), "must be strictly ascending"),
        ("max_detections", (0, 10), "must be whole numbers of at least 1, got [0, 10]"),
        ("max_detections", (-1,), "must be whole numbers of at least 1, got [-1]"),
        ("max_detections", (1.5,), "must be whole numbers of at least 1, got [1.5]"),
        ("max_detections", (True,), "must be a sequence of numbers, got [True]"),
        ("max_detections", (), "must hold at least one value"),
        ("max_detections", 100, "must be a sequence of numbers, got 100"),
        ("max_detections", (UNLIMITED + 1,), f"must be at most {UNLIMITED}, which means no limit, got [2147483648]"),
        ("iou_thresholds", (0.9, 0.5), "must be strictly ascending, got [0.9, 0.5]"),
        ("iou_thresholds", (0.0, 0.5), "must lie in (0, 1], got [0.0, 0.5]"),
        ("iou_thresholds", (0.5, 1.5), "must lie in (0, 1]"),
        ("iou_thresholds", (0.5, NAN), "must be finite numbers, got [0.5, nan]"),
        ("iou_thresholds", (0.5 + 0.1j,), "must be a sequence of numbers"),
        ("iou_thresholds", "1", "must be a sequence of numbers, got '1'"),
        ("iou_thresholds", ("0.5",), "must be a sequence of numbers, got ['0.5']"),
        ("iou_thresholds", np.linspace(0.001, 1, MAX_THRESHOLDS + 1), "must hold at most 1000 values, got more"),
        ("iou_thresholds", itertools.count(0.1, 1e-12), "must hold at most 1000 values, got more"),
        ("recall_points", (0.0, 0.5, 0.5), "must be strictly ascending"),
        ("recall_points", (0.5, 0.0), "must be strictly ascending"),
        ("recall_points", (0.0, NAN), "must be finite numbers"),
        ("recall_points", (), "must hold at least one value"),
        ("recall_points", (-0.1, 1.0), "must lie in [0, 1]"),
        ("area_ranges", (), "must hold at least one range"),
        ("area_ranges", {"all": (0, 1)}, "must be a sequence of AreaRange"),
        ("area_ranges", (("all", 0, 1, ""),), "must hold values of AreaRange, got ('all', 0, 1, '')"),
        ("area_ranges", COCO.area_ranges[:1] * 2, "must have distinct names, got 'all' more than once"),
        (
            "summary",
            (SummaryRow("AP"), SummaryRow("AP", "recall")),
            "must have distinct names, got 'AP' more than once",
        ),
        ("summary", (SummaryRow("AP", each="area"),), "must have distinct names, got 'AP' more than once"),
        ("summary", "AP", "must be a sequence of SummaryRow"),
        ("candidates", "first", "must be one of ['all', 'best'], got 'first'"),
        ("absorbing", "aera", "must be one of ['crowds', 'ignored', 'all', 'groups', 'none'], got 'aera'"),
        ("average", "mean", "must be one of ['points', 'area', 'trapezoid'], got 'mean'"),
        ("iou_type", "box", "must be one of ['bbox', 'segm', 'boundary', 'keypoints', 'obb', 'giou'], got 'box'"),
        ("limit_scope", "images", "must be one of ['class', 'image'], got 'images'"),
        ("range_of", "aera", "must be one of ['area', 'crowd_index'], got 'aera'"),
        ("class_agnostic", "no", "must be one of [False, True], got 'no'"),
        ("boundary_ratio", 0.0, "must lie in (0, 1], got [0.0]"),
        ("boundary_ratio", NAN, "must be finite numbers"),
        ("keypoint_sigmas", (0.1, NAN), "must hold a positive number for every keypoint"),
        ("keypoint_sigmas", (0.1, -0.1), "must hold a positive number for every keypoint"),
        ("class_groups", ("r", "r"), "must have distinct names, got 'r' more than once"),
        ("class_groups", "rcf", "must be a sequence of texts, got 'rcf'"),
        ("name", 3, "must be a text, got 3"),
    ],
)
def test_fields_out_of_order_are_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`{field}` {message}")):
        dataclasses.replace(COCO, **{field: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SummaryRow("AP", each="aera"), "`each` must be one of ['area', 'limit', 'class_group', None]"),
        (
            lambda: SummaryRow("AP", "precison"),
            "must be one of ['precision', 'recall', 'f1', 'miss_rate'], got 'precison'",
        ),
        (lambda: SummaryRow("AP{aera}"), "may hold {area}, {limit}, which stand for values, got {aera} in 'AP{aera}'"),
        (lambda: SummaryRow("AP{}"), "got {} in 'AP{}'"),
        (lambda: SummaryRow("AR{limit:d}"), "got {limit:d} in 'AR{limit:d}'"),
        (lambda: SummaryRow("AP{group}"), "got {group} in 'AP{group}'"),
        (lambda: SummaryRow("AP{"), "must be a text with matching braces, got 'AP{'"),
        (lambda: SummaryRow("AP", iou_threshold=NAN), "`iou_threshold` must be finite numbers, got [nan]"),
        (lambda: SummaryRow("AP", iou_threshold=50), "`iou_threshold` must lie in (0, 1], got [50.0]"),
        (lambda: AreaRange("odd", 9, 4, ""), "`area_ranges['odd']` must be (low, high) with low <= high, got (9, 4)"),
        (lambda: COCO.customize(area_ranges={7: (0, 1)}), "a name in `area_ranges` must be a text, got 7"),
        (lambda: AreaRange("odd", NAN, 4, ""), "with low <= high, got (nan, 4)"),
        (lambda: AreaRange("odd", 0, True, ""), "with low <= high, got (0, True)"),
        (lambda: AreaRange(7, 0, 1, ""), "the `name` of an AreaRange must be a text, got 7"),
    ],
)
def test_rows_and_ranges_out_of_order_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_customize_refuses_what_a_protocol_refuses() -> None:
    with pytest.raises(ValueError, match="strictly ascending"):
        COCO.customize(max_detections=[100, 10])
    with pytest.raises(ValueError, match=r"`area_ranges\['a'\]` must be .* 0 <= low <= high, got \(-1, 4\)"):
        COCO.customize(area_ranges={"a": (-1, 4)})
    assert COCO.customize(iou_type="boundary", boundary_ratio=0.01).boundary_ratio == 0.01


@pytest.mark.parametrize("kind", [list, np.array, jnp.asarray], ids=["list", "numpy", "jax"])
def test_sequences_of_any_kind_become_tuples_of_plain_numbers(kind: Any) -> None:
    made = dataclasses.replace(COCO, **{name: kind(values) for name, values in FINE.items()})
    plain = dataclasses.replace(COCO, **FINE)
    assert made == plain
    assert hash(made) == hash(plain)
    assert {type(value) for value in (*made.iou_thresholds, *made.recall_points)} == {float}
    assert {type(value) for value in made.max_detections} == {int}
    assert type(AreaRange("a", np.float32(1), 2, "").low) is float


def test_most_values_that_are_allowed() -> None:
    protocol = COCO.customize(iou_thresholds=np.linspace(0.001, 1, MAX_THRESHOLDS), max_detections=UNLIMITED)
    assert len(protocol.iou_thresholds) == MAX_THRESHOLDS
    assert protocol.max_detections == (UNLIMITED,)


def test_a_protocol_prints_its_name_and_what_differs() -> None:
    assert [repr(protocol) for protocol in PROTOCOLS.values()] == [
        f"EvaluationProtocol({name!r})" for name in PROTOCOLS
    ]
    changed = LVIS.customize(max_detections=10, iou_type="segm")
    assert repr(changed) == "EvaluationProtocol('lvis', max_detections=(10,), iou_type='segm')"
    mine = repr(dataclasses.replace(COCO, name="mine"))
    assert mine.startswith("EvaluationProtocol('mine', iou_thresholds=(0.5, 0.55, ")
    assert "candidates" not in mine
    assert get_protocol("coco") is COCO


def test_a_number_at_a_threshold_that_was_not_asked_for_is_undefined() -> None:
    summary = jaxmap.evaluate(
        [{"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]}],
        [{"boxes": [[0, 0, 10, 10]], "labels": [0]}],
        iou_thresholds=[0.6],
    ).summary
    assert summary["AP"] == pytest.approx(1.0)
    assert np.isnan(summary["AP50"])


def test_the_nearest_of_close_thresholds_is_taken() -> None:
    low, high = 0.75 - 4e-10, 0.75 + 4e-10
    protocol = dataclasses.replace(COCO.customize(iou_thresholds=[0.5, low, high]), summary=(SummaryRow("AP"),))
    assert [protocol.locate("all", value)[1] for value in (low, high, 0.75 + 1e-10)] == [1, 2, 2]
    rows = (SummaryRow("low", iou_threshold=low), SummaryRow("high", iou_threshold=high))
    assert [line.thresholds for line in summary_lines(dataclasses.replace(protocol, summary=rows))] == [(1,), (2,)]
    # The pair's IoU is exactly 3 / 4, between the two.
    found, truth = (
        {"boxes": [[0, 0, 10, 7.5]], "scores": [0.9], "labels": [0]},
        {"boxes": [[0, 0, 10, 10]], "labels": [0]},
    )
    evaluation = jaxmap.evaluate([found], [truth], protocol=protocol)
    assert [evaluation.matches(value)["matched"].tolist() for value in (low, high)] == [[True], [False]]
    with pytest.raises(ValueError, match=r"`iou_threshold` must be one of .*, got 0\.6; pass `iou_thresholds="):
        protocol.locate("all", 0.6)
