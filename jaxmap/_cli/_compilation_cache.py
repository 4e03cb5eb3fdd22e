"""Where the commands keep what JAX compiles, so that only the first run of its kind waits for the compiler.

JAX's persistent compilation cache, in the user's folder for caches: it sees to versions, devices, and processes that
run at once. It holds machine code, so the folder is the user's alone.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

__all__ = ["add_switch", "configure"]


def add_switch(command: argparse.ArgumentParser) -> None:
    """Adds `--no-compilation-cache`, which `configure` obeys."""
    command.add_argument(
        "--no-compilation-cache",
        action="store_true",
        help="compile anew, and keep nothing of it for later runs (also: JAX_ENABLE_COMPILATION_CACHE=false); "
        "the folder is JAX_COMPILATION_CACHE_DIR, or else jaxmap's own in the user's cache folder",
    )


def configure(arguments: argparse.Namespace) -> None:
    """Tells the JAX that this process will load, by its environment variables, whether and where to keep programs.

    Variables that are set already stay as they are, and a JAX that is loaded already is left to whoever loaded it.
    Without a folder that can be written, programs are compiled anew.
    """
    if "jax" in sys.modules:
        return
    if arguments.no_compilation_cache:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        return
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        try:
            folder = _user_folder() / "jaxmap" / "compiled"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # no home, or none of ours
            return
        if not os.access(folder, os.W_OK | os.X_OK):
            return
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # By default only programs of a second and more are kept; ours take a third of that each.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _user_folder() -> pathlib.Path:
    """Returns the folder for caches by the XDG Base Directory Specification, or by the platform's own convention."""
    named = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the specification has others ignored
        return named
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return pathlib.Path(os.environ["LOCALAPPDATA"])
    home = pathlib.Path.home()
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
