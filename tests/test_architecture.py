"""Who may import whom: every module stands in one layer of the table, and imports only from the layers below it.

All imports count, also those inside functions and behind `TYPE_CHECKING`. A new module or package must be put into the
table; a module may always import from itself and from its own package's files.
"""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import jaxmap
from jaxmap.protocols import IOU_TYPES

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxmap"
MAX_LINES = 400

# From the bottom to the top: a module imports only from the layers below its own, and from its own package.
LAYERS = {
    "text": {"_outputs", "_progress"},
    "display": {"_display", "_scalars"},
    "loading": {"_jax_import"},
    "containers": {"_pytrees"},
    "lowering": {"_lowering"},
    "data": {
        *("types", "_version", "_planes", "_integer_bounds", "_expected"),
        *("_threads", "_garbage_collection", "_cpu"),
    },
    "arithmetic": {"_integers", "_numbers", "_ordering", "_ragged", "_counts64", "_resampling"},
    "geometry": {"_geometry"},
    "protocols": {"protocols"},
    "input": {"_inputs", "io"},
    "checks": {"_checks"},
    "candidates": {"_candidates"},
    "records": {"_records"},
    "matching": {"_matching"},
    "curves": {"_curves"},
    "summary": {"_summary"},
    "pairing": {"_pairing", "_panoptic"},
    "analysis": {"analysis"},
    "evaluation": {"_evaluation"},
    "metric": {"metrics"},
    "around metrics": {"distributed", "adapters", "_compilation", "_device_check"},
    "shell": {"interop", "plots"},
    "page": {"report"},
    "program": {"_cli"},
    "public": {"__init__", "__main__"},
}
LAYER_OF = {module: layer for layer, modules in LAYERS.items() for module in modules}
RUNTIME = {"jax", "numpy", "chex"}
MAY_IMPORT_OUTSIDE = dict.fromkeys(set(LAYERS) - {"shell", "page", "program", "public"}, RUNTIME) | {
    "geometry": RUNTIME,
    "input": {"numpy", "msgspec", "PIL", "pyarrow", "yaml"},
    "analysis": {"numpy"},
}
EXTRAS = ("flax", "clu", "msgspec", "pycocotools", "matplotlib", "torch", "PIL", "pyarrow", "yaml", "scipy")

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES})


def imports_of(source: str, path: pathlib.Path) -> set[str]:
    """Returns the absolute dotted names that a file of the package imports, whatever way it writes them."""
    package = ("jaxmap", *path.relative_to(PACKAGE).parts[:-1])
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            # `from jaxmap import x` names a module or something that the package itself exports.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "jaxmap" else {module}
    return names


def inside_imports(source: str, path: pathlib.Path) -> set[str]:
    """Returns the modules of the package that a file imports; `__init__` for what the package itself exports."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    parts = [name.split(".") for name in imports_of(source, path)]
    inside = {[*name, "__init__"][1] for name in parts if name[0] == "jaxmap"}
    return {name if name in MODULES else "__init__" for name in inside} - {own}


def outside_imports(source: str, path: pathlib.Path) -> set[str]:
    """Returns the third-party packages that a file imports."""
    roots = {name.split(".")[0] for name in imports_of(source, path)}
    return roots - set(sys.stdlib_module_names) - {"jaxmap"}


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("import jax.numpy as jnp, numpy", set(), {"jax", "numpy"}),
        ("from jax import lax\nimport os.path", set(), {"jax"}),
        ("from .. import io", {"io"}, set()),
        ("from .._curves._host import x", {"_curves"}, set()),
        ("from . import _state\nfrom ._state import x", set(), set()),
        ("import jaxmap._cli\nfrom jaxmap.io import x", {"_cli", "io"}, set()),
        ("from jaxmap import evaluate, _summary", {"__init__", "_summary"}, set()),
        ("import jaxmap", {"__init__"}, set()),
        ("def f():\n    from ..nothing import x", {"__init__"}, set()),
        ("if TYPE_CHECKING:\n    from .._evaluation import x", {"_evaluation"}, set()),
    ],
)
def test_imports_are_found_however_they_are_written(source: str, inside: set[str], outside: set[str]) -> None:
    path = PACKAGE / "metrics" / "_batch.py"
    assert inside_imports(source, path) == inside
    assert outside_imports(source, path) == outside


def test_every_module_stands_in_the_table() -> None:
    assert len(MODULES) > 10
    assert not set(MODULES) - set(LAYER_OF), "put the new module into a layer of the table"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_below(path: pathlib.Path) -> None:
    source = path.read_text()
    layer = LAYER_OF[path.relative_to(PACKAGE).parts[0].removesuffix(".py")]
    layers = list(LAYERS)
    below = set().union(*(LAYERS[name] for name in layers[: layers.index(layer)]), set())
    assert not inside_imports(source, path) - below, f"the {layer} layer may import only from those below it"
    if layer in MAY_IMPORT_OUTSIDE:
        assert not outside_imports(source, path) - MAY_IMPORT_OUTSIDE[layer]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_containers_are_registered_in_one_place(path: pathlib.Path) -> None:
    # A container that is a pytree and nothing more cannot be written by `jax.export`. These stay inside a program.
    if path.name != "_pytrees.py" and path.parent.name not in {"_matching", "_curves"}:
        assert not re.search(r"tree_util\.register_", path.read_text()), "use `_pytrees.register_container`"


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "_host.py"], ids=str)
def test_host_route_never_imports_jax(path: pathlib.Path) -> None:
    assert not outside_imports(path.read_text(), path) & {"jax", "chex"}


def test_modules_at_the_top_are_promised_or_marked() -> None:
    promised = {"types", "protocols", *jaxmap.__all__}
    assert not {name for name in MODULES if not name.startswith("_")} - promised


@pytest.mark.parametrize("folder", ["jaxmap", "tests"])
def test_no_file_is_too_long(folder: str) -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length >= MAX_LINES}


@pytest.mark.parametrize("module", ["jaxmap", "jaxmap.io", "jaxmap.plots", "jaxmap._cli"])
def test_import_does_not_load_optional_packages(module: str) -> None:
    code = f"from {module} import *; import sys; print(*sorted(name for name in {EXTRAS!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_import_starts_no_device() -> None:
    # A backend that an import has started cannot be configured any more, and jax.distributed cannot be initialized.
    code = (
        "from jaxmap import *; import jax; "
        'jax.config.update("jax_num_cpu_devices", 3); print(jax.local_device_count("cpu"))'
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "3"


def test_public_names_are_listed_alike_for_readers_checkers_and_the_loader() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    seen_by_checkers = {
        node.module: tuple(sorted(alias.name for alias in node.names)) for node in imports if node.module is not None
    }
    assert {module: tuple(sorted(names)) for module, names in jaxmap._MODULES.items()} == seen_by_checkers
    names = [alias.name for node in imports for alias in node.names]
    assert sorted(names) == sorted(jaxmap.__all__)
    assert all(getattr(jaxmap, name) is not None for name in names)
    assert set(names) <= set(dir(jaxmap))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = jaxmap.nonsense


def test_program_loads_jax_only_to_compute() -> None:
    code = (
        "import sys; from jaxmap._cli import main; "
        "status = main(['eval', '--max-detections', 'ten']); print(status, 'jax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "2 False"


def test_registry_of_geometries_reads_without_jax() -> None:
    code = "import sys; from jaxmap.protocols import IOU_TYPES; print(len(IOU_TYPES) > 5, 'jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True False"


def untyped(source: str) -> list[str]:
    """Returns the other names of `Any`, and the annotations of arrays that name no dtype."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            found += [ast.unparse(node)] * (ast.unparse(node.value).split(".")[-1] == "Any")
        annotations = (getattr(node, name, None) for name in ("annotation", "returns"))
        parts = (part for one in annotations if one is not None for part in ast.walk(one))
        found += [ast.unparse(part) for part in parts if isinstance(part, ast.Attribute) and part.attr == "ndarray"]
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("Array = Any", 1),
        ("Array: TypeAlias = typing.Any", 1),
        ("def f(a: np.ndarray) -> list[np.ndarray | None]: ...", 2),
        ("def f(a: NDArray[np.float64], b: Any) -> bool: return isinstance(a, np.ndarray)", 0),
    ],
)
def test_arrays_without_types_are_found(source: str, count: int) -> None:
    assert len(untyped(source)) == count


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrays_have_types(path: pathlib.Path) -> None:
    # mypy checks nothing of an `Any`, whatever it is called.
    assert untyped(path.read_text()) == [], "use the names of `jaxmap.types`, or `NDArray[...]`"


@pytest.mark.parametrize("path", [path for path in FILES if "interop" not in path.parts], ids=str)
def test_kinds_of_geometry_are_asked_and_not_named(path: pathlib.Path) -> None:
    # Shells of other packages name the kinds that those have.
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            named = any(side.endswith("iou_type") for side in sides) and texts & set(IOU_TYPES)
            assert not named, (
                f"line {node.lineno}: ask the record of the geometry, so that a new one changes nothing here"
            )
