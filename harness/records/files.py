"""Which files a folder offers as records: not what studies keep in it for themselves."""

from __future__ import annotations

import glob
from pathlib import Path

from harness.errors import InputError

NUMBERS = "numbers.json"  # of a study, written last: where it is, the others are
PAGE = "page.md"  # beside it
RUN = ".npz"  # beside a record that is a cell of a study's grid: the ranking


def find(path: Path | str) -> list[Path]:
    """JSON files of a path: itself, or all in a folder or in what a pattern matches, by name.

    A folder's studies are left out, and so are the cells of their grids, as these are of variants
    of tasks: nobody who asks for what systems score means them. Cells are read where they, or the
    very folder that they lie in, are named.

    Raises:
        InputError: There is nothing of that name.
    """
    here = Path(path).expanduser()
    if here.is_file():
        return [here]
    matched = [here] if here.exists() else map(Path, sorted(glob.glob(str(here), recursive=True)))
    if not (folders := list(matched)):
        raise InputError(f"{path}: no such record or folder")
    files = [sorted(each.rglob("*.json")) if each.is_dir() else [each] for each in folders]
    found = dict.fromkeys(file for each in files for file in each if file.suffix == ".json")
    return [file for file in found if not _is_of_study(file, here)]


def _is_of_study(file: Path, named: Path) -> bool:
    if file.name == NUMBERS:
        return file.with_name(PAGE).exists()
    return file.parent != named and file.with_suffix(RUN).exists()
