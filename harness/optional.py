"""Libraries that an extra of the package brings: imported where they are needed, or named."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.errors import InputError, reason

ROOT = Path(__file__).parents[1]


def load(module: str, extra: str) -> Any:
    """Import a library that an extra brings.

    Raises:
        InputError: where it cannot be imported, with the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # the last where CUDA's part is missing
        library = module.partition(".")[0]
        raise InputError(
            f"{library} cannot be imported ({reason(error)}): {install(extra)}"
        ) from error


def install(extra: str) -> str:
    """The line that installs an extra, where the harness is a checkout and where it is none."""
    beside = Path(sys.executable).parent / "pip"
    pip = "pip" if shutil.which("pip") == str(beside) else f"{_short(sys.executable)} -m pip"
    if not (ROOT / "pyproject.toml").is_file():
        return f"{pip} install 'retrieval-harness[{extra}]'"
    return f"{pip} install -e '{_short(ROOT)}[{extra}]'"


def leave_out_folders(text: str) -> str:
    """Write a text, as what `install` gives, without where this installation lies."""
    for folder, word in ((sys.executable, "python"), (str(ROOT), "."), (sys.prefix, "PREFIX")):
        text = text.replace(folder, word)
    return text


def _short(path: str | Path) -> str:
    """A path as it is written from the working folder, where it lies in it."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)
