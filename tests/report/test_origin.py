"""A page says what made it, and whether its numbers may stand beside a leaderboard's."""

from __future__ import annotations

import dataclasses
import pathlib
import time

import pytest

import jaxmap
from jaxmap import io
from jaxmap._cli import main
from jaxmap.protocols import COCO, LVIS, OPEN_IMAGES, PROTOCOLS, VOC2007
from jaxmap.report import comparison_page, report_page
from jaxmap.report._origin import comparability, date_of_page
from support.page import Page, words

SCENE = io.demo_scene(5)


def facts(text: str) -> dict[str, str]:
    table = Page(text).columns("origin", 0)
    return dict(zip(words(table["what"]), words(table["value"]), strict=True))


def test_page_says_what_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    evaluation = jaxmap.evaluate(*SCENE, max_detections=[7])
    shown = facts(report_page(evaluation, command="jaxmap report 'a b.json' <x>"))
    assert shown["command"] == "jaxmap report 'a b.json' <x>"
    assert shown["version"] == f"jaxmap {jaxmap.__version__}"
    assert shown["date"] == "1970-01-02"
    assert shown["protocol"] == f"coco: {COCO.description}"
    assert shown["limits of detections"] == "7 per class"
    assert shown["IoU thresholds"] == "0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95"
    assert shown["recall points"] == "101, from 0 to 1"
    compared = facts(comparison_page(jaxmap.compare(evaluation, evaluation, num_replicates=2)))
    assert compared["command"].startswith("none")
    assert compared["date"] == "1970-01-02"


def test_commands_show_themselves(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a b"
    assert main(["report", "--demo", "-o", str(folder)]) == 0
    capsys.readouterr()
    shown = facts((folder / "index.html").read_text(encoding="utf-8"))
    assert shown["command"] == f"jaxmap report --demo -o '{folder}'"


def test_day_is_that_of_source_date_epoch_or_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert date_of_page() == "2023-11-14"
    for wrong in ("yesterday", "1e99", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH must be a number of seconds"):
            date_of_page()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    days = [time.strftime("%Y-%m-%d", time.gmtime()), date_of_page(), time.strftime("%Y-%m-%d", time.gmtime())]
    assert days == sorted(days)


@pytest.mark.parametrize(
    ("name", "num_images", "num_classes", "of"),
    [
        ("coco", 5_000, 80, "val2017 of COCO"),
        ("coco-keypoints", 5_000, 1, "val2017 of COCO's keypoints"),
        ("crowdpose", 8_000, 1, "test of CrowdPose"),
        ("lvis", 19_809, 1_203, "v1 val of LVIS"),
        ("voc2007", 4_952, 20, "VOC 2007 test of PASCAL VOC 2007"),
        ("voc2012", 5_823, 20, "VOC 2012 val of PASCAL VOC 2010 to 2012"),
    ],
)
def test_unchanged_protocols_on_whole_sets_are_comparable(
    name: str, num_images: int, num_classes: int, of: str
) -> None:
    sentence = comparability(PROTOCOLS[name], num_images, num_classes)
    assert sentence.startswith(f"Comparable to numbers published for {of}, because")
    assert comparability(PROTOCOLS[name], 20, num_classes).startswith("Not comparable")
    assert comparability(PROTOCOLS[name], num_images, 7).startswith("Not comparable")


def test_masks_and_groups_of_classes_stay_comparable() -> None:
    assert comparability(COCO.customize(iou_type="segm"), 5_000, 80).startswith("Comparable")
    assert comparability(COCO.with_class_groups(["base", "novel"]), 5_000, 80).startswith("Comparable")


@pytest.mark.parametrize(
    ("protocol", "size", "reason"),
    [
        (COCO.customize(max_detections=300), (5_000, 80), "these are changed: limits of detections"),
        (COCO.customize(iou_type="boundary"), (5_000, 80), "it does not rank by the IoU type boundary"),
        (VOC2007.customize(class_agnostic=True), (4_952, 1), "merging of classes; it has 20 classes and this page 1."),
        (LVIS, (100, 1_203), "images, 100, is that of none of its sets (v1 val has 19,809, v0.5 val has 5,000)"),
        (OPEN_IMAGES, (41_620, 500), "ignores it, as the Open Images V2 metric does"),
        (PROTOCOLS["all-point"], (5_000, 80), "none is known that uses the protocol all-point"),
        (dataclasses.replace(COCO, name="mine"), (5_000, 80), "none is known that uses the protocol mine"),
    ],
)
def test_reasons_are_named(protocol: jaxmap.EvaluationProtocol, size: tuple[int, int], reason: str) -> None:
    sentence = comparability(protocol, *size)
    assert sentence.startswith("Not comparable")
    assert reason in sentence


@pytest.mark.slow
def test_page_begins_with_the_verdict() -> None:
    assert (
        "Not comparable to the leaderboard of COCO, because it has 80 classes and this page"
        in Page(report_page(jaxmap.evaluate(*SCENE))).text[""]
    )
