"""The command: what it prints, where, and how it fails."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import jaxmap
from jaxmap._cli import _progress as progress
from jaxmap._cli import main
from jaxmap.protocols import COCO
from support.command import RESULTS, SETTINGS, error_of, numbers, write_files

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


# ---- output ----


def test_eval_prints_the_table_alone(capsys, files):
    assert main(["eval", *files]) == 0
    out, err = capsys.readouterr()
    assert len(out.strip().splitlines()) == 12
    assert err == ""


def test_eval_reads_gzip_files(capsys, files):
    for path in map(pathlib.Path, files):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert numbers(capsys, *files)["APs"] == pytest.approx(1.0)


def test_json_to_stdout_is_nothing_but_one_flat_object(capsys, files):
    result = numbers(capsys, *files)
    assert list(result) == NAMES
    # The dog in image 7 is found and ranks first; the one in image 9 is missed: precision 1 up to recall 0.5, which 51
    # of 101 recall points do not exceed. No class has a medium object.
    assert result["AP"] == pytest.approx(51 / 101)
    assert result["AR100"] == pytest.approx(0.5)
    assert (result["APs"], result["APl"]) == (pytest.approx(1.0), 0.0)
    assert result["APm"] is None


def test_json_to_a_file_keeps_the_table(capsys, files, tmp_path):
    assert main(["eval", *files, "--json", str(tmp_path / "out.json")]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 12
    assert json.loads((tmp_path / "out.json").read_text())["AR100"] == pytest.approx(0.5)


def test_results_without_scores_are_sets(capsys, tmp_path):
    plain = [{name: value for name, value in row.items() if name != "score"} for row in RESULTS]
    false_dog = plain[0] | {"bbox": [10, 10, 5, 5]}
    files = write_files(tmp_path, [false_dog, *plain])
    assert main(["eval", *files, "--json", str(tmp_path / "out.json"), "--per-class"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    reason, rates, concepts, ties, classes = out.strip().split("\n\n")
    assert reason.startswith("The detections have no scores, by which AP would rank them.")
    # One of two dogs is found; another dog and the traffic light are wrong.
    assert rates.splitlines()[4].split() == ["0.50", "0.333", "0.500", "0.400", "0.500", "0.500", "0.500"]
    # The dog of image 7 and the traffic light of image 9 are answered, the dogs are there: both coefficients are 0.
    assert concepts == "cgF1 0.000 = positive micro F1 0.500 x image-level MCC 0.000 (4 queries, 2 of them positive)"
    assert "lowest 0.2524752475, as evaluated 0.2524752475, highest 0.5049504950" in ties
    assert classes.splitlines()[1].split() == ["18", "dog", "2", "0.500", "0.500", "0.500"]
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["micro"]["per_threshold"]["true_positives"] == [1] * 10
    assert content["classes"][1]["class_name"] == "traffic light"
    assert content["classes"][1]["recall"] is None
    assert content["cgf1"]["positive_micro_f1"] == pytest.approx(0.5)
    assert content["ties"]["lowest"] == pytest.approx(0.2524752475)
    assert numbers(capsys, *files) == content
    some = write_files(tmp_path, [RESULTS[0], plain[1]])
    assert "`results[1]` has no `score`, but 1 of 2 `results` have one" in error_of(capsys, "eval", *some)


def test_score_threshold_makes_sets_of_scored_detections(capsys, files):
    content = numbers(capsys, *files, "--score-threshold", "0.6")
    assert (content["matching"], content["score_threshold"], content["cgf1"]["score_threshold"]) == ("score", 0.6, 0.6)
    assert (content["micro"]["precision"], content["micro"]["recall"]) == (1.0, 0.5)
    assert "ties" not in content
    assert "`score_threshold` must be a number, got nan" in error_of(capsys, "eval", *files, "--score-threshold", "nan")


def test_per_class_prints_an_aligned_table(capsys, files):
    assert main(["eval", *files, "--per-class"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert table[0].split() == ["id", "class", "objects", *NAMES]
    assert " ".join(table[1].split()) == "18 dog 2 0.505 0.505 0.505 1.000 - 0.000 0.500 0.500 0.500 1.000 - 0.000"
    assert table[2].split() == ["44", "traffic", "light", "0", *["-"] * 12]
    assert len({len(line) for line in table}) == 1
    # Numbers end where their titles end; only the names of the classes start there instead.
    title_ends = {match.end() for match in re.finditer(r"\S+", table[0])} - {table[0].index("class") + len("class")}
    for line in table[1:]:
        assert title_ends <= {match.end() for match in re.finditer(r"\S+", line)}


def test_demo_defines_every_number(capsys):
    result = numbers(capsys, "--demo")
    assert list(result) == NAMES
    assert all(0.1 < value < 0.9 for value in result.values())


def test_eval_agrees_with_the_published_numbers(capsys, shared_data):
    folder = shared_data / "cocoapi_val2014_100"
    result = numbers(capsys, str(folder / "ground_truth.json.gz"), str(folder / "fake_boxes.json.gz"))
    expected = [0.504581, 0.696973, 0.572982, 0.585626, 0.519400, 0.501398,
                0.386813, 0.593680, 0.595353, 0.639811, 0.566421, 0.564291]  # fmt: skip
    assert list(result.values()) == pytest.approx(expected, abs=1e-6)  # published to six places


def test_progress_goes_to_a_terminal_only(capsys, files, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["eval", *files, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == NAMES
    lines = err.splitlines()
    assert "jaxmap: matching 2 detections of 2 images" in lines
    assert lines[:2] == [f"jaxmap: reading {path}" for path in files]
    assert len(lines) > 2
    assert all(line.startswith("jaxmap: ") for line in lines)


def test_counts_and_time_left_are_shown_for_slow_work(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    seconds = itertools.count(step=2)
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    assert main(["eval", "--demo", "--bootstrap", "2000"]) == 0
    shown = re.findall(r"\r\x1b\[K(jaxmap: [^\r]*)\r", capsys.readouterr().err)
    assert all(re.fullmatch(r"jaxmap: [\d,]+ of 2,\d+ samples, \d+ s left", one) for one in shown)
    assert 2 <= len(shown) < 10


def test_quick_work_and_files_have_no_counts(capsys, monkeypatch):
    assert main(["eval", "--demo", "--bootstrap", "50"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "monotonic", lambda: 0.0)
    assert main(["eval", "--demo", "--bootstrap", "2000"]) == 0
    assert "left" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (4800, "1 h 20 min")]
)
def test_time_left_is_rounded(seconds, text):
    assert progress._duration(seconds) == text


def test_warnings_are_one_line_each(capsys, files):
    pathlib.Path(files[1]).write_text(json.dumps([*RESULTS, RESULTS[0] | {"category_id": 99}]))
    assert main(["eval", *files]) == 0
    out, err = capsys.readouterr()
    assert len(out.strip().splitlines()) == 12
    assert re.fullmatch(r"jaxmap: warning: .*dt\.json: ignored 1 of 3 `results`.*\n", err)


# ---- options ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5:0.95:0.05", COCO.iou_thresholds),
        ("0.5,0.75", (0.5, 0.75)),
        ("0.3", (0.3,)),
        ("0.1:0.9:0.2", tuple(np.linspace(0.1, 0.9, 5).tolist())),
        ("0.5:0.5:0.1", (0.5,)),
    ],
)
def test_iou_thresholds_are_parsed_exactly(capsys, files, monkeypatch, text, expected):
    seen = {}
    evaluate = jaxmap.evaluate
    monkeypatch.setattr("jaxmap._evaluation.evaluate", lambda *a, **k: (seen.update(k), evaluate(*a, **k))[1])
    numbers(capsys, *files, "--iou-thresholds", text)
    assert seen["protocol"].iou_thresholds == expected  # equal doubles


def test_coco_grid_given_as_a_range_changes_nothing(capsys):
    assert numbers(capsys, "--demo", "--iou-thresholds", "0.5:0.95:0.05") == numbers(capsys, "--demo")


def test_max_detections_name_the_recalls(capsys, files):
    assert {"AR2", "AR5"} < set(numbers(capsys, *files, "--max-detections", "2,5"))


def test_area_ranges_name_the_numbers(capsys, files):
    result = numbers(capsys, *files, "--area-ranges", "small=0:1024,huge=1024:inf")
    assert result["APs"] == pytest.approx(1.0)
    assert result["AP_huge"] == 0.0


def test_class_agnostic_ignores_the_class(capsys, files):
    assert numbers(capsys, *files, "--class-agnostic")["AR100"] == pytest.approx(1.0)


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"jaxmap {jaxmap.__version__}\n"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["eval", "--help"])
    assert exit_info.value.code == 0
    out = capsys.readouterr().out
    for option in ("GT", "DT", "--demo", "--iou-type", "--protocol", "--json", "--per-class", "--iou-thresholds",
                   "--max-detections", "--area-ranges", "--class-agnostic"):  # fmt: skip
        assert option in out


# ---- bad input ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score"], "there is no command 'score' (see `jaxmap --help`)"),
        (["evla", "--demo"], "there is no command 'evla'; did you mean eval? (see `jaxmap --help`)"),
        (["--json", "-"], "there is no option --json (see `jaxmap --help`)"),
        (["eval", "--demo", "-x"], "unrecognized arguments: -x (see `jaxmap eval --help`)"),
        (["eval", "a", "b", "c"], "unrecognized arguments: c (see `jaxmap eval --help`)"),
        (
            ["eval", "--demo", "--per-clas"],
            "no option --per-clas; did you mean --per-class? (see `jaxmap eval --help`)",
        ),
        (["eval", "--demo", "--boot=9"], "no option --boot; did you mean --bootstrap?"),
        (["eval", "--iou-treshold", "0.5", "--demo"], "no option --iou-treshold; did you mean --iou-thresholds"),
        (["report", "--demo", "--ouput", "x"], "no option --ouput; did you mean --output?"),
        (["eval"], "needs two files, GT and DT, or --demo"),
        (["eval", "gt.json"], "needs two files, GT and DT, or --demo"),
        (["eval", "gt.json", "--demo"], "leave out GT and DT"),
        (["eval", "--demo", "--iou-type", "segm"], "--demo makes only boxes"),
        (["eval", "--demo", "--protocol", "mine"], "invalid choice: 'mine'"),
        (["eval", "--demo", "--iou-thresholds", "half"], "'half' is not a number"),
        (["eval", "--demo", "--iou-thresholds", "0.5:0.9"], "write first:last:step"),
        (["eval", "--demo", "--iou-thresholds", "0.9:0.5:0.1"], "write first:last:step"),
        (["eval", "--demo", "--iou-thresholds", "0.5:0.9:0"], "write first:last:step"),
        (["eval", "--demo", "--iou-thresholds", "0.5:inf:0.1"], "write first:last:step"),
        (["eval", "--demo", "--iou-thresholds", "0.5:0.9:0.3"], "the step must lead from the first to the last"),
        (["eval", "--demo", "--iou-thresholds", "0:1:1e-12"], "is a range of 1e+12 values; at most 100,001 are"),
        (["eval", "--demo", "--iou-thresholds", "0:1:1e-320"], "is a range of inf values"),
        (["eval", "--demo", "--iou-thresholds", "0:1e308:1e-308"], "is a range of inf values"),
        (["eval", "--demo", "--iou-thresholds", "0.5,1.5"], "`iou_thresholds` must lie in"),
        (["eval", "--demo", "--iou-thresholds", "0.7,0.5"], "`iou_thresholds` must be strictly ascending"),
        (["eval", "--demo", "--max-detections", "1,ten"], "not a list of whole numbers such as 1,10,100"),
        (["eval", "--demo", "--max-detections", "0"], "`max_detections` must be whole numbers of at least 1"),
        (["eval", "--demo", "--area-ranges", "small"], "'small' is not a range: write name=low:high"),
        (["eval", "--demo", "--area-ranges", "a=0:1,a=1:2"], "'a' is given twice"),
        (["eval", "--demo", "--area-ranges", "a=0:x"], "'x' is not a number"),
        (["eval", "--demo", "--area-ranges", "a=9:1"], "0 <= low <= high"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, message):
    assert message in error_of(capsys, *arguments)


def test_missing_file_is_named(capsys, files):
    message = error_of(capsys, "eval", files[0], "nowhere.json")
    assert message == "jaxmap: error: nowhere.json: No such file or directory\n"


def test_folder_in_place_of_a_file_is_named(capsys, files, tmp_path):
    assert str(tmp_path) in error_of(capsys, "eval", str(tmp_path), files[1])


def test_files_in_the_wrong_order_are_explained(capsys, files):
    assert "is it the results file" in error_of(capsys, "eval", *reversed(files))


def test_bad_entry_is_named(capsys, files):
    pathlib.Path(files[1]).write_text(json.dumps([RESULTS[0] | {"score": None}]))
    assert "dt.json: `results[0].score` must be a finite number" in error_of(capsys, "eval", *files)


def test_json_that_cannot_be_written_is_named(capsys, files, tmp_path):
    path = str(tmp_path / "missing" / "out.json")
    assert path in error_of(capsys, "eval", *files, "--json", path)


# ---- as a program ----


def test_module_runs_as_a_program(files):
    root = pathlib.Path(jaxmap.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)} | SETTINGS
    command = [sys.executable, "-m", "jaxmap", "eval"]
    done = subprocess.run([*command, *files, "--json", "-"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["AR100"] == pytest.approx(0.5)
    failed = subprocess.run([*command, files[0], "nowhere.json"], env=environment, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr == "jaxmap: error: nowhere.json: No such file or directory\n"
    assert failed.stdout == ""


def test_reader_that_stops_early_is_no_error():
    root = pathlib.Path(jaxmap.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)} | SETTINGS
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxmap", "eval", "--demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # before the program can have written
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
