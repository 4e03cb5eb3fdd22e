"""What is packed: the page of a package index, the source archive, and what `pip install` may replace."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tomllib

import pytest

import jaxmap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, HATCH = SETTINGS["project"], SETTINGS["tool"]["hatch"]


def test_the_page_of_an_index_has_the_words_of_the_readme_and_no_relative_address() -> None:
    readme = page = (ROOT / "README.md").read_text()
    for one in HATCH["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        page = re.sub(one["pattern"], one["replacement"], page)
    addresses = re.findall(r"\]\(([^)]*)\)", page)
    assert [address for address in addresses if not address.startswith("https:")] == []
    assert "![" not in page
    assert "Made by" not in page
    assert re.findall(r"```.*?```", page, re.DOTALL) == re.findall(r"```.*?```", readme, re.DOTALL)
    assert page.count("\n## ") == readme.count("\n## ")


def test_the_source_archive_has_all_that_is_tracked_but_settings_of_tools() -> None:
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        pytest.skip("needs a git checkout")
    tracked = {name.split("/")[0] for name in run.stdout.split()}
    always = {"pyproject.toml", "LICENSE", ".gitignore"}
    assert tracked - always - set(HATCH["build"]["targets"]["sdist"]["only-include"]) <= {".ci"}


def test_only_extras_that_name_flax_can_replace_jax() -> None:
    """Pip takes the newest flax, which may need a newer JAX than the installed one; a CUDA plugin has its version."""
    names = {re.split(r"[<>=]", one)[0] for one in PROJECT["dependencies"]}
    assert names == {"jax", "numpy", "chex"}
    extras = PROJECT["optional-dependencies"]
    (chosen,) = re.findall(r"jaxmap\[(.*)\]", extras["all"][0])
    everything = {re.split(r"[<>=]", one)[0] for name in chosen.split(",") for one in extras[name]}
    assert not everything & {"flax", "clu", "jax", "jaxlib"}


def test_versions_agree() -> None:
    assert PROJECT["version"] == jaxmap.__version__
