"""The folder where the commands that draw images keep compiled programs, so that only the first run compiles them.

This is JAX's persistent compilation cache in the user's cache folder. JAX takes care of versions, devices and
concurrent processes. The cache holds machine code, so only the user may write to the folder.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys

__all__ = ["add_switch", "configure"]


def add_switch(command: argparse.ArgumentParser) -> None:
    """Adds `--no-compilation-cache`, which `configure` reads."""
    command.add_argument_group("the program").add_argument(
        "--no-compilation-cache",
        action="store_true",
        help="neither use nor keep compiled programs (also: JAX_ENABLE_COMPILATION_CACHE=false); they are kept in the "
        "folder JAX_COMPILATION_CACHE_DIR, or else in jaxmap's folder in the user's cache folder",
    )


def configure(arguments: argparse.Namespace) -> None:
    """Sets JAX's environment variables for the compilation cache, before this process loads JAX.

    Variables that are already set are kept, and a JAX that is already loaded is not changed. Without a writable folder,
    programs are compiled anew.
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
        except (OSError, RuntimeError):  # no home folder, or not the user's
            return
        if not os.access(folder, os.W_OK | os.X_OK):
            return
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # By default JAX keeps only programs that take a second or more to compile; ours take a third of that each.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _user_folder() -> pathlib.Path:
    """Returns the user's cache folder by the XDG Base Directory Specification, or by the platform's convention."""
    named = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the specification says to ignore relative paths
        return named
    if sys.platform == "win32" and "LOCALAPPDATA" in os.environ:
        return pathlib.Path(os.environ["LOCALAPPDATA"])
    home = pathlib.Path.home()
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
