"""The pycocotools shell in place of pycocotools in the whole process, and back."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys

import pycocotools
import pycocotools.coco
import pycocotools.cocoeval
import pycocotools.mask
import pytest

from jaxmap.interop import pycocotools as shell

NAMES = ["pycocotools", "pycocotools.coco", "pycocotools.cocoeval", "pycocotools.mask"]


def imported() -> dict[str, object]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "pycocotools"}


def assert_ours() -> None:
    import pycocotools.mask as mask_util
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval, Params

    assert COCO is shell.COCO
    assert (COCOeval, Params) == (shell.COCOeval, shell.Params)
    assert mask is mask_util is shell.mask
    assert importlib.util.find_spec("pycocotools") is not None
    assert sorted(imported()) == NAMES


def test_calls_replace_and_restore_the_modules() -> None:
    before = imported()
    assert "pycocotools._mask" in before
    shell.install()
    assert_ours()
    shell.uninstall()
    assert imported() == before
    from pycocotools.coco import COCO

    assert COCO is pycocotools.coco.COCO is not shell.COCO
    shell.uninstall()  # nothing to undo
    assert imported() == before


def test_the_end_of_a_block_restores_them_also_after_an_error() -> None:
    before = imported()
    with contextlib.suppress(ZeroDivisionError), shell.install():
        assert_ours()
        _ = 1 / 0
    assert imported() == before


def test_blocks_in_each_other_are_undone_by_the_outer_one() -> None:
    before = imported()
    with shell.install():
        with shell.install():
            assert_ours()
        assert_ours()
    assert imported() == before
    shell.install()
    with shell.install():
        pass
    assert_ours()
    shell.uninstall()
    assert imported() == before


def test_modules_that_it_lacks_are_not_found() -> None:
    with shell.install(), pytest.raises(ModuleNotFoundError, match=r"pycocotools\.nothing"):
        importlib.import_module("pycocotools.nothing")


WITHOUT = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pycocotools":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from jaxmap.interop.pycocotools import install, uninstall
install()
from pycocotools.cocoeval import COCOeval
import pycocotools.mask as mask_util
print(COCOeval.__module__, mask_util.area({"size": [2, 3], "counts": b"24"}))
uninstall()
try:
    import pycocotools
except ModuleNotFoundError as error:
    print("gone")
"""


def test_pycocotools_need_not_be_installed() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["jaxmap.interop.pycocotools.cocoeval", "4", "gone"]
