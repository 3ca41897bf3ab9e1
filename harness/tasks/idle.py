"""What is asked of a search, of tasks that have no use for it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.data import Retrieval
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.tasks import Task
from harness.wording import tell_idle

USUAL = {"index": "exact", "rewrite": "none", "latency": 0, "depth": 0, "trec": None}
"""What is asked of a search, with the values that ask for nothing."""


def refuse_idle(
    task: Task, asked: Mapping[str, object], *, lenient: bool = False
) -> tuple[str, ...]:
    """Refuse what is asked of a task that has no use for it.

    Args:
        task: With its data.
        asked: By the names of USUAL.
        lenient: Return it as a note in place of an error.

    Raises:
        InputError: It names what plays no part.
    """
    if not task.kind.ranks:
        index = INDEXES.create(str(asked.get("index", "exact")))
        # what only searches is refused where vectors are compressed, which says what would do
        takes = {"index"} if index.compresses or not lenient else set[str]()
        why = f"a task of {task.data.kind} is not searched"
    elif isinstance(task.data, Retrieval) and task.data.candidates is not None:
        takes, why = USUAL.keys() - {"index"}, "all candidates of a query are scored"
    else:
        return ()
    idle = [name for name, value in asked.items() if name not in takes and value != USUAL[name]]
    note = f"{why}: {tell_idle(idle)}"
    if idle and not lenient:
        raise InputError(note)
    return (note,) if idle else ()
