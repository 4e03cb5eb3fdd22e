"""The manuals hold what they say: their code runs, their commands parse, their links lead somewhere, their tables fit.

A manual's Python blocks run in order in one namespace, in a process of their own and an empty folder. A `text` block
right after one of them is what that block prints. Commands are parsed, and not run.
"""

from __future__ import annotations

import json
import os
import pathlib
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
import warnings

import pytest

from jaxmap._cli._main import _parser
from jaxmap._cli._parser import parse
from test_architecture import LAYERS
from test_examples import ROOT

ROOMS = ("adapters", "analysis", "interop", "io", "metrics", "plots", "protocols", "report")
MANUALS = [
    *("README.md", "CONTRIBUTING.md", "jaxmap/README.md", "tests/README.md"),
    *(f"jaxmap/{room}/README.md" for room in ROOMS),
    *("examples/README.md", "examples/benchmarks/README.md"),
]
FOLDERS = ("jaxmap", "tests", "examples")
MOST_WORDS = 1000  # of the README, without its code
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# Runs the blocks that standard input holds; prints as JSON what each printed, or that a package is missing.
RUNNER = """
import contextlib, io, json, sys
namespace, printed = {"__name__": "__main__"}, []
for number, code in enumerate(json.load(sys.stdin)):
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(code, f"block {number}", "exec"), namespace)
    except ImportError as error:
        missing = error.name or getattr(error.__cause__, "name", None) or "jaxmap"
        if missing.partition(".")[0] == "jaxmap":
            raise
        printed.append({"missing": missing})
    except NameError as error:
        if not any("missing" in one for one in printed):
            raise
        printed.append({"missing": f"what another block would make, {error.name}"})
    else:
        printed.append({"text": output.getvalue()})
json.dump(printed, sys.stdout)
"""


def blocks(manual: str) -> list[tuple[str, str]]:
    """Returns the language and the content of every fenced block."""
    return FENCED.findall((ROOT / manual).read_text())


def prose(manual: str) -> str:
    return FENCED.sub("", (ROOT / manual).read_text())


def commands(manual: str) -> list[list[str]]:
    """Returns the words of every command in the shell blocks; several may stand on a line."""
    lines = [line for language, content in blocks(manual) if language == "bash" for line in content.splitlines()]
    parts = [part for line in lines for part in re.split(r"&&", line.split("  #")[0])]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def without_settings(words: list[str]) -> list[str]:
    """Leaves out `NAME=value` before a command."""
    return words[next(index for index, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)) :]


def rows_of(text: str, first_title: str) -> list[list[str]]:
    """Returns the rows of the table whose first column has this title, without its head."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"| {first_title} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([entry.strip() for entry in line.strip("|").split("|")])
    return rows


def test_every_manual_is_listed() -> None:
    rooms = [path for folder in FOLDERS for path in (ROOT / folder).rglob("README.md")]
    assert {path.relative_to(ROOT).as_posix() for path in rooms} == set(MANUALS) - {"README.md", "CONTRIBUTING.md"}


@pytest.mark.slow
@pytest.mark.parametrize("manual", [manual for manual in MANUALS if "```python" in (ROOT / manual).read_text()])
def test_python_blocks_run(manual: str, tmp_path: pathlib.Path) -> None:
    every = blocks(manual)
    code = [content for language, content in every if language == "python"]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", RUNNER],
        input=json.dumps(code),
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = json.loads(done.stdout)
    results, result = iter(printed), {}
    for language, content in every:
        if language == "python":
            result = next(results)
        elif language == "text" and "missing" not in result:
            assert result["text"] == content
    missing = sorted({one["missing"] for one in printed if "missing" in one})
    if missing:
        pytest.skip(f"some blocks need packages that are not installed: {', '.join(missing)}")


@pytest.mark.parametrize("manual", MANUALS)
def test_commands_exist_with_their_options(manual: str) -> None:
    for words in map(without_settings, commands(manual)):
        program, *arguments = words
        program = program.rpartition("/")[2]
        if program == "jaxmap":
            parse(*_parser(), arguments)
        elif program.startswith("python") and arguments[0] == "-m":
            parts = arguments[1].split(".")
            module = ROOT.joinpath("tests", *parts)
            exists = module.with_suffix(".py").exists() or (module / "__main__.py").exists()
            assert parts[0] in ("build", "pytest", "venv") or exists, words
        elif program.startswith("python"):
            source = (ROOT / arguments[0]).read_text()
            options = [argument for argument in arguments if argument.startswith("-")]
            assert not [option for option in options if f'"{option}"' not in source], words
        else:
            assert program in ("bash", "pip", "ruff", "mypy", "twine"), words
        files = [argument for argument in arguments if argument.startswith(("tests/", "examples/"))]
        assert all((ROOT / file).exists() for file in files), words


@pytest.mark.parametrize("manual", MANUALS)
def test_links_and_extras_exist(manual: str) -> None:
    text = prose(manual)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = target.partition("#")
        if path.startswith("https:"):
            continue
        page = (ROOT / manual).parent / path if path else ROOT / manual
        assert page.exists(), target
        headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in headings_of(page)}
        assert not heading or heading in headings, target
    whole = (ROOT / manual).read_text()
    named = {one.strip() for few in re.findall(r"pip install [^\n]*\[([\w, ]+)\]", whole) for one in few.split(",")}
    assert named <= set(EXTRAS)


@pytest.mark.parametrize("manual", MANUALS)
def test_files_and_names_exist(manual: str) -> None:
    spans = re.findall(r"`([^`]+)`", prose(manual))
    files = {file for span in spans for file in re.findall(r"[\w./]+\.(?:py|md)\b", span)}
    tree = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]
    assert not {file for file in files if not any(str(path).endswith(f"/{file}") for path in tree)}
    missing = set()
    for name in {name for span in spans for name in re.findall(r"\bjaxmap(?:\.[A-Za-z_]\w*)+", span)}:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what other libraries say when they are imported
            try:
                assert pkgutil.resolve_name(name) is not None
            except ImportError as error:
                assert not (error.name or "jaxmap").startswith("jaxmap"), name
                missing.add(error.name)
    if missing:
        pytest.skip(f"some names need packages that are not installed: {', '.join(sorted(map(str, missing)))}")


def headings_of(page: pathlib.Path) -> list[str]:
    if page.suffix != ".md":
        return []
    return [line for line in FENCED.sub("", page.read_text()).splitlines() if line.startswith("#")]


def test_readme_is_short_and_lists_the_extras() -> None:
    assert len(prose("README.md").split()) <= MOST_WORDS
    listed = {name.strip(" `") for row in rows_of(prose("README.md"), "extra") for name in row[0].split(",")}
    assert listed == set(EXTRAS) - {"bench", "test"}
    alike = listed - {"all", "clu", "nnx"}  # these bring flax, and with it perhaps a newer JAX
    assert EXTRAS["all"] == [f"jaxmap[{','.join(name for name in EXTRAS if name in alike)}]"]


def test_layers_are_those_of_the_architecture_test() -> None:
    rows = rows_of(prose("jaxmap/README.md"), "layer")
    assert [(layer, set(re.findall(r"`(\w+)`", modules))) for layer, modules, _ in rows] == [
        (layer, set(modules)) for layer, modules in LAYERS.items() if layer != "public"
    ]
