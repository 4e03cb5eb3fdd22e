"""What the program prints on request: help by group, and tables in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import pathlib

import pytest

from jaxmap._cli import main
from jaxmap._cli._main import _parser
from jaxmap._cli._tables import Table, formatted
from support.command import error_of

COMMANDS = _parser()[1]
PRINTING = sorted(name for name in COMMANDS if "--markdown" in COMMANDS[name].format_help())


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


# ---- help ----


def test_program_alone_prints_its_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2  # a script whose arguments got lost must not pass
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: jaxmap ")
    assert "jaxmap eval GT.json DT.json" in err
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out == err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_common_options_come_first(name: str) -> None:
    text = COMMANDS[name].format_help()
    places = [text.find(f"\n{title}:\n") for title in ("options", "what is computed", "file formats", "the program")]
    assert [place for place in places if place >= 0] == sorted(place for place in places if place >= 0)
    assert places[0] > 0
    assert places[-1] > text.rfind("\n  --", 0, places[-1])
    if "  --per-class" in text:
        assert text.index("\n  --per-class") < text.index("\n  --json") < max(places[1], places[-1])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str], name: str) -> None:
    message = error_of(capsys, name, "gt", "dt", "--no-compilation")
    assert "there is no option --no-compilation; did you mean --no-compilation-cache?" in message


def test_names_of_files_may_look_like_options(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    folder = pathlib.Path(files[0]).parent
    assert f"{folder}/nothing: No such file" in error_of(capsys, "eval", "--", files[0], f"{folder}/nothing")
    assert "--nothing: No such file" in error_of(capsys, "eval", "--", "--nothing", files[1])


# ---- tables ----


def test_table_in_every_form() -> None:
    table = Table({"class_name": ["a|b", "50%_x"], "AP": [0.5, math.nan], "n": [12, 3]}, "AP & more")
    assert formatted([table, "two\nlines"]) == "\n".join(
        ["AP & more", "class     AP   n", "a|b    0.500  12", "50%_x      -   3", "", "two", "lines"]
    )
    assert formatted([table, "two\nlines"], "markdown").splitlines() == [
        *("AP & more", "", "| class | AP | n |", "| :--- | ---: | ---: |", r"| a\|b | 0.500 | 12 |"),
        *(r"| 50%\_x | - | 3 |", "", "```text", "two", "lines", "```"),
    ]
    assert formatted([table, "two\nlines"], "latex").splitlines() == [
        *("% AP & more", r"\begin{tabular}{lrr}", r"\hline", r"class & AP & n \\", r"\hline"),
        *(r"a|b & 0.500 & 12 \\", r"50\%\_x & - & 3 \\", r"\hline", r"\end{tabular}", "", "% two", "% lines"),
    ]
    assert formatted([Table({"x": [1]}, text="own")]) == "own"
    assert "own" not in formatted([Table({"x": [1]}, text="own")], "markdown")


def test_eval_prints_one_row_of_numbers_and_one_for_each_class(
    capsys: pytest.CaptureFixture[str], files: list[str]
) -> None:
    lines = printed(capsys, "eval", *files, "--markdown", "--per-class").splitlines()
    assert lines[0].startswith("| AP | AP50 | AP75 | APs |")
    assert lines[2].startswith("| 0.505 | 0.505 |")
    assert lines[3] == ""
    assert lines[4].startswith("| id | class | objects | AP |")
    assert lines[6].startswith("| 18 | dog | 2 | 0.505 |")
    text = printed(capsys, "eval", *files, "--latex", "--per-class")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"18 & dog & 2 & 0.505" in text


@pytest.mark.parametrize("name", sorted({*PRINTING} - {"panoptic"}))
@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_every_command_has_every_form(
    capsys: pytest.CaptureFixture[str], files: list[str], name: str, form: str
) -> None:
    given = [*files, files[1]] if name == "compare" else files
    told = [] if name == "compare-protocols" else ["traffic light"] if name == "check" else ["dog"]
    options = ["--per-class"] if "--per-class" in COMMANDS[name].format_help() else []
    few = ["--replicates", "20"] if name == "compare" else []
    text = printed(capsys, name, *given, *options, *few, f"--{form}")
    if name == "explain":  # prose
        assert text.startswith("```text\n" if form == "markdown" else "% ")
    elif form == "latex":
        tables = text.split(r"\begin{tabular}{")[1:]
        assert tables
        assert all(one in text for one in told)
        for table in tables:
            columns, *lines = table.splitlines()
            rows = [line for line in lines if line.endswith(r" \\")]
            assert {line.count("&") for line in rows} == {len(columns) - len("}") - 1}
    else:
        tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
        assert tables
        assert all(len({line.count("|") for line in table}) == 1 and len(table) > 2 for table in tables)
        assert all(one in text for one in told)


def test_csv_and_json_to_standard_output(capsys: pytest.CaptureFixture[str], files: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "eval", *files, "--csv", "-"))))
    assert [row["class_name"] for row in rows] == ["dog", "traffic light"]
    content = json.loads(printed(capsys, "eval", *files, "--json", "-", "--per-class"))
    assert content["per_class"][0]["AP"] == content["AP"] == float(rows[0]["AP"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "-", "--csv", "-"], "--json - and --csv - would both be printed"),
        (["--json", "-", "--markdown"], "--json - and --markdown would both be printed"),
        (["--latex", "--markdown"], "not allowed with argument"),
    ],
)
def test_only_one_form_is_printed(capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert words in error_of(capsys, "eval", "--demo", *options)


def test_form_is_printed_beside_files(
    capsys: pytest.CaptureFixture[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    text = printed(capsys, "eval", *files, "--markdown", "--json", str(tmp_path / "out.json"))
    assert text.startswith("| AP |")
    assert json.loads((tmp_path / "out.json").read_text())["AR100"] == 0.5
