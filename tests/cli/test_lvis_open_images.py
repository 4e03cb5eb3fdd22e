"""The command on LVIS and Open Images files."""

from __future__ import annotations

import json
import pathlib

import pytest

from jaxmap._cli import main
from support.command import error_of, numbers

BOXES = """ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf
a,/m/cat,0,0.5,0,0.5,0
b,/m/cat,0,0.5,0,0.5,1
"""
DETECTIONS = """ImageID,LabelName,Score,XMin,XMax,YMin,YMax
c,/m/cat,0.95,0,0.5,0,0.5
b,/m/cat,0.9,0.1,0.2,0.1,0.2
a,/m/cat,0.8,0,0.5,0,0.5
a,/m/animal,0.7,0,0.5,0,0.5
"""
TREE = {"LabelName": "/m/all", "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}]}]}


@pytest.fixture
def open_images(tmp_path: pathlib.Path) -> dict[str, str]:
    """An object that is found, a group that is, and a detection in an image without boxes."""
    texts = {
        "boxes.csv": BOXES,
        "detections.csv": DETECTIONS,
        "labels.csv": "ImageID,LabelName,Confidence\nc,/m/cat,0\n",
        "tree.json": json.dumps(TREE),
        "names.csv": "/m/cat,Cat\n/m/animal,Animal\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {pathlib.Path(name).stem: str(tmp_path / name) for name in texts}


def test_open_images_files_are_scored_under_their_protocol(capsys, open_images):
    command = [open_images["boxes"], open_images["detections"], "--protocol", "open-images"]
    # Nobody looked for a cat in c, and the one in b lies inside the group.
    assert numbers(capsys, *command) == {"AP": pytest.approx(1.0), "AR": 1.0}
    # The label says that there is none in c: a false positive before the hit.
    labels = ["--image-labels", open_images["labels"]]
    assert numbers(capsys, *command, *labels)["AP"] == pytest.approx(0.5)
    # The cat is an animal as well, which is found without a false positive.
    tree = ["--hierarchy", open_images["tree"], "--class-descriptions", open_images["names"]]
    assert numbers(capsys, *command, *labels, *tree)["AP"] == pytest.approx((0.5 + 1) / 2)
    assert main(["eval", *command, *labels, *tree, "--per-class"]) == 0
    assert "/m/animal  Animal" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--image-labels", "--hierarchy", "--class-descriptions"])
def test_open_images_options_need_its_files(capsys, files, option):
    assert f"{option} is for Open Images' .csv, which GT is not" in error_of(capsys, "eval", *files, option, "x")


def test_lvis_files_are_scored_under_their_protocol(capsys, files):
    assert "`images[0]` has no `neg_category_ids`" in error_of(capsys, "eval", *files, "--protocol", "lvis")
    path = pathlib.Path(files[0])
    truth = json.loads(path.read_text())
    for image in truth["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category, frequency in zip(truth["categories"], "rf", strict=True):
        category["frequency"] = frequency
    path.write_text(json.dumps(truth))
    result = numbers(capsys, *files, "--protocol", "lvis")
    # One dog of two is found: precision 1 up to recall 0.5. Nobody looked for the traffic light.
    assert result["AP"] == result["APr"] == pytest.approx(51 / 101)
    assert result["APc"] is None
    assert result["APf"] is None
    assert result["AR@300"] == 0.5
    assert main(["eval", *files, "--protocol", "lvis"]) == 0
    assert "| class=     r | maxDets=300 ] = 0.505" in capsys.readouterr().out
