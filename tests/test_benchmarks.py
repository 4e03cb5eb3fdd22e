"""The benchmark programs run: the load is what it says, and the runner's tools agree on a small one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from support.benchmark_modules import FOLDER, load_module, module_fixture

pytestmark = pytest.mark.slow

SMALL = {"num_images": 30, "num_ground_truths": 200, "num_detections": 1_001, "num_classes": 7}


coverage = module_fixture("coverage")
loads = module_fixture("loads")
capacity = module_fixture("capacity")
exactness = module_fixture("exactness")


def test_capacity_follows_from_shapes(capacity: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    capacity.main([])
    images, slots = 5_000, 100
    of_image = slots * (28 + 3) + 4 * (2 + 4 + 11)  # rows, the two words of the id, four counters, eleven checks
    assert capacity.shapes(capacity.COCO)[0] == images * of_image + 4 * 7
    assert f"{images * of_image / 1e6:.0f} MB" in capsys.readouterr().out


def test_capacity_is_what_fits_into_memory(capacity: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    capacity.main(["gpu", "--temporaries", "1000", "--markdown"])  # more than the compiler says
    state, result, _ = capacity.shapes(capacity.COCO)
    held = capacity.rounded((80e9 - result) / (state / 5_000 + 1000 * 100))
    header, _, row, *_ = (line for line in capsys.readouterr().out.splitlines() if line.startswith("|"))
    columns = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert columns["images on one H100"] == held == "770,000"


def test_load_is_deterministic(loads: ModuleType) -> None:
    first, second = loads.make_load(**SMALL), loads.make_load(**SMALL)
    assert first.ground_truth_dict() == second.ground_truth_dict()
    assert first.results() == second.results()
    assert first.results() != loads.make_load(**SMALL, seed=1).results()


def test_load_has_the_counts_asked_for(loads: ModuleType) -> None:
    load = loads.make_load(**SMALL)
    ground_truth = load.ground_truth_dict()
    assert [len(ground_truth[name]) for name in ("images", "annotations", "categories")] == [30, 200, 7]
    assert len(load.results()) == 1_001
    assert sorted(np.bincount(load.dt_image)) == [33] * 19 + [34] * 11  # 1001 = 30 * 33 + 11


def test_load_looks_like_coco(loads: ModuleType) -> None:
    load = loads.make_load(num_images=500, num_ground_truths=4_000, num_detections=20_000)
    box_area = load.gt_boxes[:, 2] * load.gt_boxes[:, 3]
    right, bottom = (load.gt_boxes[:, :2] + load.gt_boxes[:, 2:]).T
    assert np.all(np.abs(load.gt_area / box_area - 0.7) <= 0.2 + 1e-3)  # the area is rounded to four decimals
    assert np.all(right <= load.image_sizes[load.gt_image, 0] + 0.01)
    assert np.all(bottom <= load.image_sizes[load.gt_image, 1] + 0.01)
    assert 0.35 < np.mean(load.gt_area < 32**2) < 0.55
    assert 0.004 < np.mean(load.gt_crowd) < 0.02
    figures = load.figures()
    assert figures["detections of one score with another"] > 0
    assert figures["pairs of IoU >= 0.5"] > 0.5 * figures["ground truths"]


def test_pairs_are_counted_as_by_hand(loads: ModuleType) -> None:
    load = loads.make_load(num_images=4, num_ground_truths=20, num_detections=60, num_classes=2)
    same = (load.dt_image[:, None] == load.gt_image) & (load.dt_label[:, None] == load.gt_label)
    overlap = np.stack([loads.iou(load.dt_boxes, np.broadcast_to(box, (60, 4))) for box in load.gt_boxes], axis=1)
    assert load.figures()["pairs"] == same.sum()
    assert load.figures()["pairs of IoU >= 0.5"] == (same & (overlap >= 0.5)).sum()


def test_padded_rows_keep_their_order(loads: ModuleType) -> None:
    load = loads.make_load(**SMALL)
    detections, ground_truths = load.padded()
    assert detections["boxes"].shape == (30, 34, 4)
    np.testing.assert_array_equal(detections["scores"][detections["valid"]], load.dt_scores)  # image by image
    np.testing.assert_array_equal(ground_truths["area"][3][ground_truths["valid"][3]], load.gt_area[load.gt_image == 3])


@pytest.mark.parametrize("size", [(3, 0, 10, 2), (3, 10, 0, 2), (1, 1, 1, 1)])
def test_degenerate_loads_are_made(loads: ModuleType, size: tuple[int, int, int, int]) -> None:
    load = loads.make_load(*size)
    assert load.figures()["detections"] == size[2]
    assert all(len(column) == size[0] for side in load.padded() for column in side.values())


def test_crowds_have_five_detections_an_object_and_overlap(loads: ModuleType) -> None:
    load = loads.make_crowds(40)
    objects, detections = np.bincount(load.gt_image), np.bincount(load.dt_image)
    assert len(load.category_ids) == 1
    assert objects.max() > 5 * np.median(objects)  # a long tail: log-normal of spread 1, the largest of 40
    np.testing.assert_array_equal(detections, 5 * objects)
    first = load.gt_boxes[load.gt_image == objects.argmax()]
    others = [loads.iou(first, np.roll(first, shift, axis=0)) for shift in range(1, len(first))]
    assert np.mean(np.max(others, axis=0) > 0) > 0.5  # most objects overlap another


def test_saved_load_is_read_back(loads: ModuleType, tmp_path: Path) -> None:
    load = loads.make_crowds(3)
    read = loads.Load.read(load.save(tmp_path))
    for name, column in vars(load).items():
        np.testing.assert_array_equal(getattr(read, name), column)


def test_tools_agree_on_a_small_load(tmp_path: Path) -> None:
    for package in ("pycocotools", "hotcoco", "faster_coco_eval", "ultrafast_pycocotools", "vernier"):
        pytest.importorskip(package)
    sizes = ["--images", "20", "--ground-truths", "150", "--detections", "600", "--classes", "5"]
    result = tmp_path / "result.json"
    command = [sys.executable, FOLDER / "run.py", *sizes, "--repeats", "1", "--markdown", "--json", result]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # the jaxmap under test, installed or not
    completed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "All agree" in completed.stdout
    content = json.loads(result.read_text())
    peers = {"hotcoco", "ultrafast-pycocotools", "vernier", "faster-coco-eval", "pycocotools"}
    assert set(content["tools"]) == peers | {"jaxmap"}
    assert all(len(numbers) == 12 for tool in content["tools"].values() for numbers in tool["numbers"])


def test_scale_measures_a_crowd_that_the_tools_agree_on(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    result = tmp_path / "result.json"
    command = [sys.executable, FOLDER / "scale.py", "--loads", "crowds", "--shrink", "500", "--big-repeats", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # the jaxmap under test, installed or not
    completed = subprocess.run(
        [*command, "--json", result], capture_output=True, text=True, check=False, env=environment
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr  # 1 where they disagree
    measured = json.loads(result.read_text())["loads"]["crowds"]
    assert measured["counts"]["images"] == 6  # 3000 / 500
    assert measured["counts"]["detections"] == 5 * measured["counts"]["objects"]
    for tool in measured["tools"].values():
        assert len(tool["seconds"]["warm call"]) == 1
        assert tool["peak_bytes"][0] > measured["input_bytes"]


def test_exponent_of_growth_is_that_of_time_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = load_module("scale", monkeypatch)
    results = {}
    for name, images, seconds in (("coco-500", 500, 0.25), ("coco-5k", 5_000, 2.5), ("coco-50k", 50_000, 250.0)):
        measurement = scale.Measurement()
        measurement.seconds["warm call"] = [seconds, seconds, 1e9]
        results[name] = scale.Result(counts={"images": images}, input_bytes=100, tools={"jaxmap": measurement})
    # Ten times the images take ten times, then a hundred times as long; the median drops the slow turn.
    expected = "jaxmap: 1.00 from coco-500 to coco-5k, 2.00 from coco-5k to coco-50k, 1.50 from coco-500 to coco-50k"
    assert scale.growth(results) == [expected]
    assert results["coco-500"].allowed_bytes == 400_000_300  # 400 MB and three times the inputs


def test_runner_is_loud_when_tools_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_module("run", monkeypatch)
    agreed = run.Measurement(numbers=[[0.5] * 11 + [None]])
    other = run.Measurement(numbers=[[0.5 + 1e-8, *[0.5] * 11]])
    assert run.disagreements({"pycocotools": agreed, "hotcoco": agreed}) == []
    lines = run.disagreements({"pycocotools": agreed, "hotcoco": other})
    assert [line.split(":")[0] for line in lines] == ["AP", "ARl"]


@pytest.mark.parametrize("box_format", ["xywh", "xyxy"])
def test_integer_boxes_are_decided_exactly(exactness: ModuleType, box_format: str) -> None:
    counts = exactness.count(np.random.default_rng(0), "integer", 20_000, box_format)
    found = dict(zip(exactness.COLUMNS, counts, strict=True))
    assert found["on a threshold"] > 100
    assert found["ties"] > 1_000
    assert found["wrong levels"] == found["wrong winners"] == 0


# ---- the script for a machine with an accelerator ----

# Stands for the interpreter: notes each call, fails in one part, and takes too long in another.
STUB = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
case "$*" in
  *"device_parts.py updates"*) echo broken >&2; exit 3 ;;
  *"device_parts.py profile"*) echo begun; sleep 60 ;;
  *-c*) echo "Some Chip (v5)" ;;
  *) echo figures ;;
esac
"""


# Takes the place of `timeout`, so that no test waits for the limits of the script.
SHORT_TIMEOUT = """#!/usr/bin/env bash
options=()
while [[ "$1" == --* ]]; do options+=("$1") && shift; done
exec "$TIMEOUT" "${options[@]}" 2 "${@:2}"
"""


def test_script_goes_on_after_a_part_that_fails_or_is_slow(tmp_path: Path) -> None:
    for name, content in (("python", STUB), ("timeout", SHORT_TIMEOUT)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PYTHON": str(tmp_path / "python"), "CALLS": str(tmp_path / "calls")}
    environment |= {"TIMEOUT": shutil.which("timeout") or "", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(FOLDER / "device.sh"), "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    results = tmp_path / "results-Some-Chip-v5-"
    ended = dict(line.split(": ", 1) for line in (results / "summary.txt").read_text().splitlines()[:-1])
    assert len(ended) == len(list(results.glob("*.log"))) == 10
    assert ended.pop("c-updates").startswith("FAILED with status 3, see c-updates.log")
    assert ended.pop("h-profile").startswith("stopped at its limit of 20 s")
    assert all(how.startswith("done") for how in ended.values())
    assert (results / "c-updates.log").read_text() == "broken\n"
    assert (results / "h-profile.txt").read_text() == "begun\n"
    assert "exactness.py --pairs 20000" in (tmp_path / "calls").read_text()


def test_limits_of_the_script_add_up_to_eight_minutes() -> None:
    limits = re.findall(r"^part (\d+) ", (FOLDER / "device.sh").read_text(), re.MULTILINE)
    assert len(limits) == 10
    assert sum(map(int, limits)) == 480


@pytest.mark.parametrize("part", ["facts", "scenes", "updates", "fetched", "maps", "bootstrap", "profile"])
def test_parts_of_the_script_run(part: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    parts = load_module("device_parts", monkeypatch)
    monkeypatch.delitem(parts.VARIANTS, "lists of candidates")  # that of a CPU, which the part compiles anyway
    assert parts.main([part, "--quick"]) == 0
    printed = capfd.readouterr().out
    expected = {
        "facts": "jax ",
        "scenes": "IoUs on thresholds: 100 images, AP",
        "updates": "update of 16 images by rounds: compiled in",
        "fetched": "StreamingEval" if importlib.util.find_spec("hotcoco") else "skipped: hotcoco",
        "maps": "SemanticSegmentation.update 8 x 640 x 640",
        "bootstrap": "50 replicates of 100 images: first",
        "profile": " us in all",
    }
    assert expected[part] in printed
    if part == "scenes":
        assert "all matches equal those of the host" in printed
    if part == "fetched" and "StreamingEval" in printed:  # three evaluations of the same predictions
        assert len(set(re.findall(r"AP (0\.\d{5})", printed))) == 1


def test_intervals_contain_the_truth_about_as_often_as_they_say(coverage: ModuleType) -> None:
    # Of 40 intervals that each contain the truth with a chance of 94 %, fewer than 32 do once in ten thousand times.
    for name, share in coverage.coverage(40, 150, 100, population=10_000).items():
        if "BCa" in name:
            assert share >= 0.8, (name, share)


def test_in_jit_stands_beside_hotcoco(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hotcoco")
    load_module("in_jit", monkeypatch).main(["--images", "16", "--batch", "8", "--slots", "20", "--repeats", "3"])
    ratios = re.findall(r"StreamingEval: [\d.]+ ms; jaxmap takes [\d.]+ of that", capfd.readouterr().out)
    assert len(ratios) == 2  # an update, and the whole evaluation
