"""The command on VOC files, and `jaxmap compare-protocols`."""

from __future__ import annotations

import json
import pathlib
import tarfile

import pytest

from jaxmap._cli import main
from jaxmap.protocols import PROTOCOLS, get_protocol
from support.command import error_of, numbers

XML = """<annotation>{}</annotation>"""
OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


@pytest.fixture
def voc(tmp_path: pathlib.Path) -> list[str]:
    """Two images with a car each, and a difficult one; both cars are found, behind a miss and a difficult one."""
    texts = {
        "Annotations/a.xml": XML.format(OBJECT.format("car", 0, 1, 1, 10, 10) + OBJECT.format("car", 1, 30, 1, 39, 10)),
        "Annotations/b.xml": XML.format(OBJECT.format("car", 0, 1, 1, 10, 10)),
        "results/comp4_det_test_car.txt": (
            "a 0.9 30 1 39 10\n"  # difficult: dropped
            "a 0.8 1 1 10 10\n"
            "b 0.7 50 50 60 60\n"  # false
            "b 0.6 1 1 10 5\n"  # 50 pixels of 100, but 9 x 4 of 81 between points
        ),
        "list.txt": "a\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return [str(tmp_path / "Annotations"), str(tmp_path / "results")]


def test_voc_files_are_scored_under_their_protocol(capsys, voc):
    # Hit, miss, hit of two: precision 1 and 2/3.
    assert numbers(capsys, *voc, "--protocol", "voc2012") == {"AP": pytest.approx((1 + 2 / 3) / 2), "AR": 1.0}
    assert numbers(capsys, *voc, "--protocol", "voc2007")["AP"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    plain = numbers(capsys, *voc, "--protocol", "voc2012", "--plain-corners")
    assert plain == {"AP": pytest.approx(1 / 2), "AR": 0.5}  # the last one overlaps by 36 / 81 only
    listed = numbers(
        capsys, voc[0], voc[1], "--protocol", "voc2012", "--iou-thresholds", "0.3,0.5", "--max-detections", "3"
    )
    assert listed["AP"] == pytest.approx((1 + 2 / 3) / 2)


def test_per_class_table_of_voc_has_ap_and_recall(capsys, voc):
    assert main(["eval", *voc, "--protocol", "voc2012", "--per-class"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert table[0].split() == ["id", "class", "objects", "AP", "AR"]
    assert table[1].split() == ["0", "car", "2", "0.833", "1.000"]


def test_voc_archives_and_image_lists_are_read(capsys, voc, tmp_path):
    archive = tmp_path / "annotations.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(voc[0], arcname="Annotations")
    pattern = str(pathlib.Path(voc[1]) / "comp4_det_test_*.txt")
    assert numbers(capsys, str(archive), pattern, "--protocol", "voc2012")["AR"] == 1.0
    # The detections in b are left out with it.
    listed = numbers(capsys, *voc, "--protocol", "voc2012", "--image-list", str(tmp_path / "list.txt"))
    assert listed == {"AP": pytest.approx(1.0), "AR": 1.0}


def test_voc_options_need_voc_files(capsys, files):
    assert "VOC's folders, which GT is not" in error_of(capsys, "eval", *files, "--plain-corners")
    assert "VOC's folders, which GT is not" in error_of(capsys, "compare-protocols", "--demo", "--plain-corners")


def test_help_describes_every_protocol(capsys):
    for command in (["eval", "--help"],):
        with pytest.raises(SystemExit):
            main(command)
        words = " ".join(capsys.readouterr().out.split())
        for protocol in PROTOCOLS.values():
            assert f"{protocol.name} {protocol.description}" in words


COMPARED = ["coco", "all-point", "voc2012", "voc2007"]


def test_protocols_stand_side_by_side(capsys, voc):
    assert main(["compare-protocols", *voc]) == 0
    table, descriptions = capsys.readouterr().out.split("\n\n")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert list(rows) == ["protocol", *COMPARED]
    assert rows["protocol"] == ["AP", "AP50", "AP75", "AR"]
    assert rows["voc2012"] == ["0.833", "0.833", "-", "1.000"]
    assert rows["voc2007"] == ["0.848", "0.848", "-", "1.000"]
    assert rows["all-point"][1] == "0.833"
    for protocol in map(get_protocol, COMPARED):
        assert f"{protocol.name} {protocol.description}" in " ".join(descriptions.split())


def test_comparison_as_json(capsys, files, tmp_path):
    path = tmp_path / "out.json"
    assert main(["compare-protocols", *files, "--json", str(path)]) == 0
    assert capsys.readouterr().out.startswith("protocol")
    content = json.loads(path.read_text())
    assert list(content) == COMPARED
    assert list(content["voc2012"]) == ["description", "AP", "AP50", "AP75", "AR"]
    # One dog of two is found: precision 1 up to recall 0.5.
    assert content["coco"]["AP"] == pytest.approx(51 / 101)
    assert content["all-point"]["AP"] == content["voc2012"]["AP50"] == pytest.approx(1 / 2)
    assert content["voc2007"]["AP"] == pytest.approx(6 / 11)
    assert content["voc2012"]["AP75"] is None
    assert main(["compare-protocols", *files, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == content


def test_comparison_has_a_demo(capsys):
    assert main(["compare-protocols", "--demo", "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert all(0.1 < numbers["AP"] < 0.9 for numbers in content.values())
    assert len({numbers["AP50"] for numbers in content.values()}) == len(COMPARED)
