"""Baselines: frozen whole, checked, replaced when asked, and never lost by a kill."""

from __future__ import annotations

import subprocess

import pytest

from harness import gate, records
from harness.compare import side
from harness.errors import HarnessError, InputError
from harness.gate import judge
from harness.gate.policy import Policy
from harness.stats import Estimate
from tests.comparable import record, saved
from tests.gate.frame import BASE, frozen
from tests.killed import run


def test_a_baseline_holds_the_same_records_and_checks_itself(tmp_path):
    base = frozen(tmp_path)
    assert sorted(path.name for path in base.iterdir()) == [
        "SHA256SUMS", "one.json", "one.parquet", "two_k=3.json", "two_k=3.parquet",
    ]  # fmt: skip
    held, given = gate.thaw(base), side([tmp_path / "records"])
    assert {t: r for t, (_, r) in held.tasks.items()} == {t: r for t, (_, r) in given.tasks.items()}
    assert judge(held, given, Policy()).exit_status == 0
    told = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=base, check=False)
    assert told.returncode == 0


def test_a_baseline_that_was_changed_is_refused(tmp_path):
    base = frozen(tmp_path)
    text = (base / "one.json").read_text()
    (base / "one.json").write_text(text.replace("0.5", "0.6"))
    with pytest.raises(InputError, match=r"one\.json: was changed since it was frozen: restore it"):
        gate.thaw(base)
    (base / "one.json").unlink()
    with pytest.raises(InputError, match=r"one\.json: is in SHA256SUMS, not on the disk"):
        gate.thaw(base)
    (base / "one.json").write_text(text)
    (base / "three.json").write_text(text)
    with pytest.raises(InputError, match=r"three\.json: is not in SHA256SUMS"):
        gate.thaw(base)


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        (None, "not a baseline's list of files: .*harness baseline freeze"),
        ("nonsense\n", "not a baseline's list of files"),
        ("aa  ../../etc/passwd\n", "expected the name of a file in this folder"),
        ("aa  /etc/passwd\n", "expected the name of a file in this folder"),
    ],
)
def test_a_folder_that_is_no_baseline(tmp_path, sums, message):
    if sums:
        (tmp_path / "SHA256SUMS").write_text(sums)
    with pytest.raises(InputError, match=message):
        gate.thaw(tmp_path)


def test_a_baseline_is_replaced_only_when_asked(tmp_path):
    base = frozen(tmp_path)
    with pytest.raises(InputError, match="a baseline is there already"):
        gate.freeze([tmp_path / "records"], base)
    saved(tmp_path / "other", {"R@2": BASE}, "three")
    assert gate.freeze([tmp_path / "other"], base, replace=True) == [base / "three.json"]
    assert list(gate.thaw(base).tasks) == ["three"]
    assert gate.freeze([base], base, replace=True) == [base / "three.json"]  # onto itself
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        gate.freeze([tmp_path / "other"], tmp_path / "home", replace=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("exchange", [True, False])
def test_a_freeze_that_is_killed_can_be_repeated_and_loses_nothing(tmp_path, exchange):
    base = frozen(tmp_path)
    saved(tmp_path / "other", {"R@2": BASE}, "three")
    program = """
        from harness import disk, gate
        other, base = map(Path, sys.argv[1:3])
        if sys.argv[3] == "False":
            disk._exchange = lambda *_: False
        disk.STALE_S = -1
        data = {path.name: path.read_bytes() for path in base.iterdir()}
        gate.thaw(base), gate.compare.side([other])  # what they import is none of its operations
        seen = set()

        def freeze():
            gate.freeze([other], base, replace=True)

        def check():
            held = tuple(gate.thaw(base).tasks)
            assert held in (("one", "two,k=3"), ("three",)), held
            seen.add(held)
            freeze()
            assert list(gate.thaw(base).tasks) == ["three"]
            assert not [p.name for p in base.parent.iterdir() if p.name.startswith(".")]
            disk.write_folder(base, data, ["three.json", "three.parquet"])

        killed(freeze, check)
        assert len(seen) == 2
    """
    assert run(program, tmp_path / "other", base, exchange) > 20


def test_a_first_freeze_that_is_killed_can_be_repeated(tmp_path):
    saved(tmp_path / "records", {"R@2": BASE}, "one")
    program = """
        import shutil
        from harness import disk, gate
        records, base = map(Path, sys.argv[1:3])
        disk.STALE_S = -1
        gate.compare.side([records])

        def freeze():
            gate.freeze([records], base)

        def check():
            if not base.exists() or not any(base.iterdir()):
                freeze()
            assert list(gate.thaw(base).tasks) == ["one"]
            shutil.rmtree(base)

        killed(freeze, check)
    """
    assert run(program, tmp_path / "records", tmp_path / "base") > 20


def test_only_what_a_candidate_can_be_held_to_is_frozen(tmp_path):
    undefined = record(scores={"R@2": None})
    records.save(undefined, {"query_id": ["q0"]}, tmp_path / "undefined")
    with pytest.raises(InputError, match="R@2 is not defined: nothing to hold to"):
        gate.freeze([tmp_path / "undefined"], tmp_path / "base")
    path = saved(tmp_path / "lost", {"R@2": BASE})
    path.with_suffix(".parquet").unlink()
    with pytest.raises(InputError, match="not readable"):
        gate.freeze([tmp_path / "lost"], tmp_path / "base")
    for task in ("a:b", "a_b"):
        saved(tmp_path / "same" / task, {"R@2": BASE}, task)
    with pytest.raises(InputError, match=r"are both named a_b\.json"):
        gate.freeze([tmp_path / "same"], tmp_path / "base")
    assert not (tmp_path / "base").exists()
    (tmp_path / "file").write_text("")
    saved(tmp_path / "fine", {"R@2": BASE})
    with pytest.raises(HarnessError, match="cannot be written"):
        gate.freeze([tmp_path / "fine"], tmp_path / "file" / "base")


def test_a_score_without_interval_is_not_comparable(tmp_path):
    saved(tmp_path / "old", {"R@2": BASE})
    made = record(scores={"R@2": 0.5}).model_copy(
        update={"scores": {"R@2": Estimate(mean=0.5, low=None, high=None)}}
    )
    records.save(made, {"query_id": ["q0"]}, tmp_path / "new")
    found = judge(side([tmp_path / "old"]), side([tmp_path / "new"]), Policy())
    assert (found.verdicts[0].status, found.exit_status) == ("not comparable", 2)
