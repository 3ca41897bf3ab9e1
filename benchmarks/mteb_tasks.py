"""What mteb averages for each of its tasks, as the table that boards read: no mteb needed there.

python benchmarks/mteb_tasks.py > harness/exchange/mteb_tasks.json
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any


def read_tasks() -> Iterator[tuple[str, list[str], list[str]]]:
    """Name, splits and subsets of each task of the installed mteb, without its data."""
    logging.disable(logging.WARNING)
    from mteb.get_tasks import _TASKS_REGISTRY

    for name, task in sorted(_TASKS_REGISTRY.items()):
        about = task.metadata
        yield name, list(about.eval_splits), sorted(about.hf_subsets_to_langscripts)


def name_subsets(subsets: Sequence[str]) -> dict[str, list[str]]:
    """Subsets as their names, or, where they are all pairs of languages, as the languages."""
    languages = sorted({name.partition("-")[0] for name in subsets})
    pairs = sorted(f"{one}-{other}" for one, other in permutations(languages, 2))
    return {"pairs": languages} if pairs == sorted(subsets) else {"names": list(subsets)}


def group() -> dict[str, Any]:
    """Tasks by their splits and, where there is more than the usual one, by their subsets."""
    import mteb

    splits, subsets = defaultdict(list), defaultdict(list)
    for name, own, parts in read_tasks():
        splits[tuple(own)].append(name)
        if parts != ["default"]:
            subsets[tuple(parts)].append(name)
    return {
        "mteb": mteb.__version__,
        "splits": [{"splits": list(key), "tasks": names} for key, names in splits.items()],
        "subsets": [{"tasks": names, **name_subsets(key)} for key, names in subsets.items()],
    }


def main() -> None:
    """Print the table, a line a group, so that a change can be seen."""
    found = group()
    print(f'{{\n"mteb": {json.dumps(found.pop("mteb"))}', end="")
    for key, groups in found.items():
        print(f',\n"{key}": [')
        print(",\n".join(map(json.dumps, groups)), end="\n]")
    print("\n}")


if __name__ == "__main__":
    main()
