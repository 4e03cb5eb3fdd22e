"""Files and NumPy arrays are evaluated without JAX, and containers are pytrees whenever JAX is imported."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCENE = "[dict(boxes=[[0, 0, 9, 9]], labels=[0], scores=[0.5])], [dict(boxes=[[0, 0, 9, 9]], labels=[0])]"


def run(code: str, *arguments: str) -> str:
    """Returns what a new process prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "boundary", "keypoints", "obb"])
def test_no_geometry_needs_jax_outside_jit(iou_type: str) -> None:
    code = (
        "import sys, jaxmap; from jaxmap._geometry import geometry_of\n"
        f"jaxmap.evaluate; jaxmap.io; jaxmap.types; geometry_of({iou_type!r}); print('jax' in sys.modules)"
    )
    assert run(code).split() == ["False"]


@pytest.mark.parametrize("options", [(), ("--per-class", "--json", "-"), ("--protocol", "voc2012")])
def test_commands_evaluate_without_jax(options: tuple[str, ...]) -> None:
    code = "import sys; from jaxmap._cli import main; main(sys.argv[1:]); print('jax' in sys.modules)"
    assert run(code, "eval", "--demo", *options).split()[-1] == "False"


@pytest.mark.parametrize("jax_first", [True, False])
def test_containers_are_pytrees_whichever_is_imported_first(jax_first: bool) -> None:
    imports = ["import jax, jax.export", f"import jaxmap\nevaluation = jaxmap.evaluate({SCENE})"]
    code = "\n".join(imports if jax_first else imports[::-1]) + (
        "\nimport json, numpy as np"
        "\nscores = np.ones((1, 2), np.float32)"
        "\nfound = jaxmap.Detections(boxes=np.ones((1, 2, 4)), labels=np.ones((1, 2), int), scores=scores)"
        "\ndoubled = jax.jit(lambda both: jax.tree.map(lambda column: 2 * column, both))"
        "\nrows = jax.tree.leaves(evaluation.dataset.records)"
        "\nexported = jax.export.export(doubled)(found).serialize()"
        "\nprint(json.dumps([float(doubled(found).scores.sum()), len(rows), len(exported) > 100]))"
    )
    assert json.loads(run(code)) == [4.0, 11, True]


def test_looking_for_jax_does_not_import_it() -> None:
    code = (
        "import importlib.util, sys; from jaxmap.types import Candidates\n"
        "found = [importlib.util.find_spec('jax').origin for _ in range(2)]\n"
        "print('jax' in sys.modules, found[0] == found[1])\n"
        "import jax, jax.numpy as jnp\n"
        "print(jax.__spec__.origin == found[0], len(jax.tree.leaves(Candidates(index=jnp.ones(1), level=jnp.ones(1)))))"
    )
    assert run(code).split() == ["False", "True", "True", "2"]


def test_a_jax_that_cannot_be_imported_fails_as_without_jaxmap(tmp_path: pathlib.Path) -> None:
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("raise ImportError('jaxlib is broken')")
    code = (
        "import sys, jaxmap.types; sys.path.insert(0, sys.argv[1])\n"
        "for _ in range(2):\n"
        "    try: import jax\n"
        "    except ImportError as error: print(error, 'jax' in sys.modules)\n"
        "sys.path.pop(0); import jax; print(len(jax.tree.leaves(jaxmap.types.Candidates(index=1, level=2))))"
    )
    assert run(code, str(tmp_path)).splitlines() == ["jaxlib is broken False"] * 2 + ["2"]
