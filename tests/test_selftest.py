"""The self-test of GPUs, against fakes: what is equal is said to be, and every fault is found."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from harness import accelerators, optional, selftest, visibility
from harness.indexes import Found, Instead, devices, exact
from harness.indexes.gpu import certified, faiss_scan, torch_maxsim, torch_scan
from harness.progress import silent
from harness.selftest import bound, cases, encoding, header, refusals, structures
from harness.selftest.cases import ALL, FULL, QUICK, Case, CaseGrid
from harness.selftest.machine import Machine, find_machine
from harness.selftest.outcomes import Outcome, Status, compare_runs
from harness.selftest.report import Report, lines, tables, write_json
from harness.selftest.searching import check_search, judge_devices
from harness.vectors import Run
from tests.indexes.faiss_gpu import faked

SMALL = CaseGrid(
    kinds=("random", "equal", "duplicates", "zeros"),
    dims=(1, 17),
    documents=(1, 300),
    depths=(1, 10, ALL),
    queries=(1, 9),
    bounds=(80, 80),
    bound_dims=(17,),
    structure=(600, 32, 20),
    texts=(30, 5),
)
TARGETS = ("Flat,metric=l2", "IVF16_Flat,nprobe=4")
ON_CPU = Machine(("cpu",), torch=True, faiss=False)  # the code of torch, on the processor


@pytest.fixture
def small(monkeypatch):
    """The small grid in place of the quick one."""
    monkeypatch.setattr(cases, "QUICK", SMALL)
    monkeypatch.setattr(structures, "TARGETS", TARGETS)
    return SMALL


def checks(grid: CaseGrid, machine: Machine, *words: str) -> list[Outcome]:
    """Outcomes of the checks whose section begins with one of the words."""
    planned = selftest.plan(grid, machine).checks
    return list(selftest.make_all([c for c in planned if c.section.startswith(words)], silent))


def test_all_is_equal_on_two_devices(run, small, tmp_path):
    with faked(share=0.7):
        done = run("selftest", "gpu", "--quick", "--json", tmp_path / "deep" / "found.json")
    assert done.status == 0, done.out
    *_, verdict, where = done.out.splitlines()
    assert where == f"written to {tmp_path / 'deep' / 'found.json'}"
    found = json.loads((tmp_path / "deep" / "found.json").read_text())
    assert found["verdict"] == verdict
    unshown = [one for one in found["checks"] if one["status"] == "not shown"]
    assert {one["name"].split()[0] for one in unshown} == {"equal", "zeros"}  # scores that tie
    assert {one["by_devices"] for one in unshown} == {0.0}
    whole, passed = len(found["checks"]), len(found["checks"]) - len(unshown)
    assert verdict.startswith(
        f"selftest gpu --quick: {passed} of {whole} checks passed, {len(unshown)} show nothing of "
        "devices; "
    )
    assert found["exit_status"] == 0
    assert {one["status"] for one in found["checks"]} == {"equal", "refused", "not shown"}
    assert {one["section"] for one in found["checks"]} == {
        *(f"exact {p} {how}" for p in ("float32", "float16")
          for how in ("one", "replicated", "sharded")),
        "bound of rounding", "lists and codes", "refusals",
    }  # fmt: skip
    compared = sum(one["compared"] for one in found["checks"] if one["passed"])
    assert f"{compared:,} comparisons equal" in verdict
    assert [one["what"] for one in found["not_checked"]] == [
        "bfloat16", "MaxSim", "encoding on the device", "the bound of torch's scan", "gpu:CAGRA",
    ]  # fmt: skip
    assert found["machine"]["driver"] == "580.65.06"
    assert found["machine"]["gpus"][1]["capability"] == "9.0"
    searched = [one for one in found["checks"] if one["section"].startswith("exact")]
    assert all(one["gpu_seconds"] > 0 and one["cpu_seconds"] > 0 for one in searched)
    assert {one["peak_by"] for one in searched} == {"driver"}
    assert max(one["peak_bytes"] for one in searched) >= 300 * 17 * 4
    for line in (
        "driver           580.65.06",
        "Fake GPU, 9.0",
        "Not checked",
        "gpu:CAGRA",
        "not shown:",
    ):
        assert line in done.out


def test_scans_of_torch_on_the_processor():
    found = checks(SMALL, ON_CPU, "exact", "MaxSim", "bound", "encoding")
    assert {one.section for one in found} == {
        *(f"{what} {p} one" for what in ("exact", "MaxSim")
          for p in ("float32", "float16", "bfloat16")),
        bound.SECTION, bound.LATE, encoding.SECTION,
    }  # fmt: skip
    assert [(one.name, one.details) for one in found if one.failed] == []
    assert {one.name.split()[0] for one in found if not one.passed} == {"equal"}
    (encoded,) = (one for one in found if one.section == encoding.SECTION)
    assert encoded.details == "vectors differ from those made on the CPU by 0 at most"
    assert encoded.compared == 5 * 10
    shares = [one.ratio for one in found if "float16" in one.name and one.ratio is not None]
    assert all(0.01 < share < 1 for share in shares)
    assert found


def test_layouts_are_asked_for_by_devices():
    layouts = ("one", "replicated", "sharded")
    asked = [MACHINE.ask(layout) for layout in layouts]
    assert asked == ["devices=0", "devices=0+1", "devices=0+1,sharded=true"]


def test_a_search_is_timed_when_devices_are_done(monkeypatch):
    """torch's calls in their order, and the larger of what torch and the driver tell."""
    from harness.selftest import machine as machines

    told = []
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda place, name=name: told.append(name))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda place: 10**12 * (place.index + 1))
    monkeypatch.setattr(machines, "held_by_torch", lambda machine: list(machine.names))
    with faked(share=0.7):
        case = Case("random", 8, 50, 3, "float32", "replicated", 5)
        found = check_search(case, MACHINE)
    assert told == ["reset_peak_memory_stats"] * 2 + ["synchronize"] * 4
    assert (found.peak_bytes, found.peak_by, found.status) == (3 * 10**12, "torch", "equal")


def test_torch_keeps_memory_while_a_search_begins(monkeypatch):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda place: (encoding.LEFT + 1000, 1 << 30))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda place: 3 * 10**9)
    found = encoding.check_cached((30, 5), ON_CPU)
    assert found.details == "torch kept 3.0 GB of the device when the search began"
    assert (found.status, found.compared) == ("equal", 50)


@pytest.mark.parametrize(
    ("free", "total", "said"),
    [
        (10**9, 2 * 10**9, "1.0 of 2.0 GB free"),
        (None, 2 * 10**9, "free memory unknown of 2.0 GB"),
        (None, None, "free memory unknown"),
        (10**9, None, "1.0 GB free"),
    ],
)
def test_memory_that_a_driver_does_not_tell_is_unknown(free, total, said):
    with faked(1), pytest.MonkeyPatch.context() as patch:
        gpu = visibility.Gpu(0, "Fake GPU", "9.0", free, total, "GPU-of-this-machine")
        patch.setattr(accelerators, "gpus", lambda: [gpu])
        facts = header.describe_machine(find_machine("0"))
        assert ("GPU 0", f"Fake GPU, 9.0, {said}") in header.write_rows(facts)
    assert "GPU-of" not in json.dumps(facts)  # it is to be sent


def test_a_report_that_is_sent_names_no_folder():
    mend = f"{sys.executable} -m pip install -e '{optional.ROOT}[gpu]'"
    facts = {"faiss": {"why_none": mend, "lines": [mend]}}
    written = json.loads(write_json(Report(facts, (), (), {})))["machine"]["faiss"]
    assert written == {"why_none": MEND, "lines": [MEND]}


MEND = "python -m pip install -e '.[gpu]'"


def test_what_the_processor_decided_in_a_device_s_place_is_told():
    """Of 7 queries 2 were left to it, of all 7 for ties, or because a device was full."""
    run = Run(np.zeros((7, 1), np.int32), np.zeros((7, 1), np.float32))

    def judge(devices: int, rest: Instead | None, status: Status = "equal") -> tuple:
        found = Found(run, devices=("cuda:0",) * devices, instead=rest)
        one = judge_devices(Outcome("exact", "random", status, "said"), found)
        return one.status, one.by_devices, one.details

    ties, all_ties = (Instead(part, 7, "queries", "ties", full=False) for part in (2, 7))
    full = Instead(2, 7, "queries", "cuda:0: out of memory", full=True)
    said = "said; {} of 7 queries were searched on the CPU: {}"
    assert judge(1, None) == ("equal", 1.0, "said")
    assert judge(0, None) == ("not shown", 0.0, "said; no device searched")
    assert judge(1, ties) == ("equal", 5 / 7, said.format(2, "ties"))
    assert judge(0, all_ties) == ("not shown", 0.0, said.format(7, "ties"))
    assert judge(1, full) == ("error", 5 / 7, said.format(2, "cuda:0: out of memory"))
    assert judge(0, all_ties, "differs")[0] == "differs"


def test_a_device_that_becomes_full_fails():
    with faked(1, share=0.7, memory=1 << 31):
        case = Case("random", 8, 50, 3, "float32", "one", 5)

        def fill(self, queries, m):
            raise devices.DeviceFullError("cuda:0: out of memory")

        assert check_search(case, find_machine("0")).status == "equal"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faiss_scan.FaissScan, "nearest", fill)
            found = check_search(case, find_machine("0"))
    assert (found.status, found.failed, found.by_devices) == ("error", True, 0.0)
    assert found.details == "5 of 5 queries were searched on the CPU: cuda:0: out of memory"


def test_queries_that_devices_decided_are_counted():
    """MaxSim counts comparisons: a query of which the processor made some is none of a device's."""
    run = Run(np.zeros((7, 1), np.int32), np.zeros((7, 1), np.float32))

    def judge(devices: int, rest: Instead | None) -> Outcome:
        found = Found(run, devices=("cuda:0",) * devices, instead=rest)
        return judge_devices(Outcome("exact", "random", "equal", compared=7), found)

    ties = Instead(2, 7, "queries", "ties", full=False)
    full = Instead(3, 70, "comparisons", "out of memory", full=True)
    outcomes = (judge(1, None), judge(1, ties), judge(0, None), judge(1, full))
    assert [(one.decided, one.queries) for one in outcomes] == [(7, 7), (5, 7), (0, 7), (0, 7)]
    report = Report({}, (*outcomes, Outcome("refusals", "k", "refused")), (), {})
    assert [row[5] for row in tables(report)[0].rows] == ["12 of 28", ""]
    written = json.loads(write_json(report))
    assert "devices decided 12 of 28 queries" in written["verdict"]
    assert [one["decided"] for one in written["checks"]] == [7, 5, 0, 0, 0]


def test_products_of_the_processor_show_no_bound_of_a_device(monkeypatch):
    """A full device leaves its rough scores to the processor, whose error is none of its own."""

    def fill(self, queries, low, high, tokens):
        raise devices.DeviceFullError("cuda:0: out of memory")

    def check() -> Outcome:
        return bound.check_late_bound("float32", (20, 5, 8), "", ON_CPU)

    assert check().status == "equal"
    monkeypatch.setattr(torch_maxsim._Device, "_score", fill)
    found = check()
    assert (found.status, found.by_devices) == ("error", 0.0)
    assert "comparisons were made on the CPU: cuda:0: out of memory" in found.details


def test_a_structure_that_no_device_searched_is_not_shown(monkeypatch):
    search = structures.search_on_gpus

    def elsewhere(*given):
        taken = search(*given)
        return replace(taken, found=replace(taken.found, devices=()))

    def check() -> Outcome:
        return structures.check_structure("IVF16_Flat,nprobe=4", (600, 32, 20), MACHINE)

    with faked():
        shown = check()
        monkeypatch.setattr(structures, "search_on_gpus", elsewhere)
        found = check()
    assert (shown.status, shown.decided, shown.queries) == ("equal", 20, 20)
    assert (found.status, found.decided, found.queries) == ("not shown", 0, 20)
    assert found.details.endswith("; no device searched")


def test_a_machine_whose_devices_decide_nothing_does_not_pass():
    unshown = Outcome("exact", "equal", "not shown", by_devices=0.0, compared=5)
    shown = Outcome("exact", "random", "equal", compared=15)
    assert Report({}, (unshown,), (), {}).exit_status == 1
    report = Report({}, (unshown, shown), (), {})
    assert report.exit_status == 0
    assert tables(report)[0].rows[0][1:5] == ("2", "1", "20", "75 %")
    assert "not shown: exact: equal: " in lines(report)


def test_a_peak_that_nobody_tells_is_none():
    with faked(share=0.7), pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "free_memory", lambda name: None)
        found = checks(SMALL, MACHINE, "exact float32 one")
    assert {(one.peak_bytes, one.peak_by, one.status) for one in found} == {(None, "", "equal")}


def test_one_device_replicates_nothing():
    with faked(1):
        planned = selftest.plan(SMALL, find_machine("0"))
    assert {check.section.split()[-1] for check in planned.checks if "exact" in check.section} == {
        "one"
    }
    assert planned.unchecked[0].why == "one device is tested"


def test_no_gpu(run, monkeypatch):
    monkeypatch.setattr(accelerators, "present", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    done = run("selftest", "gpu", "--json", "found.json")
    assert (done.status, done.out) == (2, "")
    assert done.err == "error: no GPU to test: no NVIDIA driver is loaded\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0,5"], "gpu: devices=0+5: expected all, or of 0+1"),
        (["--devices", "one"], "gpu: devices=one: expected all, or of 0+1"),
        (["--json", "."], "--json .: a folder: expected the name of a file"),
        (["--json", "file/found.json"], "file/found.json: cannot be written: "),
    ],
)
def test_bad_input_before_any_work(run, words, message, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(selftest, "run", None)
    with faked():
        done = run("selftest", "gpu", *words)
    assert done.status == 2
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1


def test_help(run):
    done = run("selftest")
    assert (done.status, done.err) == (0, "")
    assert "Test search and encoding on GPUs against the processor." in done.out


def test_a_score_off_by_one_bit_is_found(run, small, monkeypatch, tmp_path):
    search = certified.CertifiedSearcher.search

    def off(self, queries, k, progress):
        found = search(self, queries, k, progress)
        if k != 10 or found.run.scores.shape[0] < 9:
            return found
        scores = found.run.scores.copy()
        scores.view(np.uint32)[4, 0] ^= 1
        return replace(found, run=Run(found.run.docs, scores))

    monkeypatch.setattr(certified.CertifiedSearcher, "search", off)
    with faked(share=0.7):
        done = run("selftest", "gpu", "--quick", "--json", "found.json")
    assert done.status == 1
    found = json.loads((tmp_path / "found.json").read_text())
    differing = [one for one in found["checks"] if one["status"] == "differs"]
    assert differing
    for one in differing:
        assert " k=10 " in one["name"]
        assert (one["differing"], one["first"]["query"], one["first"]["rank"]) == (1, 4, 0)
        assert one["first"]["gpu_document"] == one["first"]["cpu_document"]
        bits = [int(one["first"][f"{side}_bits"], 16) for side in ("gpu", "cpu")]
        assert bits[0] ^ bits[1] == 1
        line = f"(0x{one['first']['gpu_bits']}), CPU document {one['first']['cpu_document']} score"
        assert line in " ".join(done.out.split())
    assert f"{len(differing)} of {len(found['checks'])} checks failed, 0 of them" in done.out


def test_a_scan_beyond_its_bound_is_found():
    with faked(share=1.5):
        found = checks(SMALL, find_machine("all"), "bound")
    beyond = [one for one in found if one.status == "differs"]
    assert len(beyond) == len(found) > 0
    assert all(one.ratio > 1 and "expected below 1" in one.details for one in beyond)


def test_a_search_that_certifies_what_it_should_not_is_found(monkeypatch):
    no_error = lambda norms, *_: np.zeros_like(norms)  # noqa: E731
    with faked(share=0.7):
        monkeypatch.setattr(certified, "rounding_error", no_error)
        monkeypatch.setattr(faiss_scan.FaissScan, "nearest", _lose_the_best)
        found = checks(SMALL, find_machine("all"), "exact")
    assert "differs" in {one.status for one in found}


def _lose_the_best(self, queries, m):
    """A scan that never finds document 0."""
    products, docs = self.index.search(queries, m)
    docs = np.where(docs == 0, docs.max(axis=1, keepdims=True), docs)
    return certified.Nearest(docs, products, self.names)


def test_a_scan_that_raises_does_not_end_the_test(run, small, monkeypatch, tmp_path):
    def broken(self, queries, m):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore lines")

    monkeypatch.setattr(faiss_scan.FaissScan, "nearest", broken)
    with faked():
        done = run("selftest", "gpu", "--quick", "--json", "found.json")
    assert done.status == 1
    found = json.loads((tmp_path / "found.json").read_text())
    errors = [one for one in found["checks"] if one["status"] == "error"]
    said = "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert errors
    assert {one["details"] for one in errors} == {said}
    sections = {one["section"] for one in found["checks"] if one["passed"]}
    assert {"lists and codes", "refusals"} <= sections
    assert said in " ".join(done.out.split())
    assert "Traceback" not in done.out + done.err


def test_a_setting_that_is_not_given_back_is_found(monkeypatch):
    from torch.backends.cuda import matmul

    nearest = torch_scan.TorchScan.nearest

    def careless(self, queries, m):
        found = nearest(self, queries, m)
        matmul.allow_tf32 = False
        return found

    monkeypatch.setattr(torch_scan.TorchScan, "nearest", careless)
    found = bound.check_bound("torch", "float32", (20, 20, 8), "allow_tf32", ON_CPU)
    assert found.status == "differs"
    assert "torch's allow_tf32 was True and is False after the search" in found.details


def test_settings_are_left_as_they_were():
    from torch.backends.cuda import matmul

    names = [name for name in bound.list_settings() if name]
    before = [getattr(matmul, name) for name in names]
    for setting in names:
        with bound.switching(setting) as said:
            assert getattr(matmul, setting) == bound.TF32[setting]
        assert said == []
        assert [getattr(matmul, name) for name in names] == before


@pytest.mark.parametrize(("spec", "k"), [*refusals.BY_ANY, *refusals.BY_FAISS])
def test_what_gpus_cannot_do_is_refused(spec, k):
    with faked():
        check = selftest.Check("", spec, lambda: refusals.check_refusal(spec, k, MACHINE))
        found = selftest.make_all([check], silent)[0]
    assert found.passed, found.details
    assert found.details


MACHINE = Machine(("cuda:0", "cuda:1"), torch=False, faiss=True)


def test_what_is_accepted_and_should_not_be_is_found():
    with faked():
        found = refusals.check_refusal("gpu:IVF16_Flat,nprobe=4", 10, MACHINE)
    assert (found.status, found.details) == (
        "differs", "accepted without a note: expected a refusal",
    )  # fmt: skip


def test_another_recall_on_the_gpu_is_found(monkeypatch):
    search = structures.search_on_gpus

    def poor(*given):
        taken = search(*given)
        run = taken.found.run
        docs = np.where(np.arange(run.docs.shape[1]) < 5, run.docs, 0).astype(np.int32)
        return replace(taken, found=replace(taken.found, run=Run(docs, run.scores)))

    monkeypatch.setattr(structures, "search_on_gpus", poor)
    with faked():
        found = structures.check_structure("IVF16_Flat,nprobe=4", (600, 32, 20), MACHINE)
    assert found.status == "differs"
    assert "expected within 0.002" in found.details


@pytest.mark.parametrize("grid", [FULL, QUICK, SMALL])
@pytest.mark.parametrize("late", [False, True])
def test_each_pair_of_values_is_in_a_case(grid, late):
    chosen = cases.choose_cases(grid, late=late)
    assert chosen.lacking == ()
    assert len(chosen.cases) < 70
    values = [grid.kinds, grid.dims, grid.documents, grid.depths, grid.precisions, grid.layouts,
              grid.queries]  # fmt: skip
    names = [one.name for one in fields(Case) if one.name != "late"]
    held = [[vars(case)[name] for name in names] for case in chosen.cases]
    for (i, left), (j, right) in itertools.combinations(enumerate(values), 2):
        expected = set(itertools.product(left, right))
        assert {(row[i], row[j]) for row in held} == expected, (names[i], names[j])
    assert not any(cases.find_limit(case, grid) for case in chosen.cases)
    assert cases.choose_cases(grid, late=late) == chosen


def test_a_pair_that_no_case_can_hold_is_told():
    chosen = cases.choose_cases(replace(SMALL, results=1000))
    assert chosen.lacking == ()
    chosen = cases.choose_cases(replace(SMALL, results=250))
    assert chosen.lacking == ("n=300 and depth=n", )  # fmt: skip
    assert chosen.excluded == {"more than 250 results": 144}


@pytest.mark.parametrize("kind", FULL.kinds)
def test_vectors_are_of_their_kind(kind):
    values = cases.make_vectors(kind, 1000, 16, seed=1).values
    assert (values.shape, values.dtype) == ((1000, 16), np.float32)
    norms = np.linalg.norm(values.astype(np.float64), axis=1)
    distinct = len(np.unique(values, axis=0))
    held = {
        "random": distinct == 1000 and norms.std() > 0.1,
        "unit": np.allclose(norms, 1),
        "equal": distinct == 1,
        "duplicates": distinct == 800,
        "integers": set(np.unique(values)) == {-3, -2, -1, 0, 1, 2, 3},
        "near": distinct == 1000 and 0 < np.ptp(values, axis=0).max() < 1e-4,
        "zeros": (norms == 0).sum() == 500,
        "lengths": norms.min() < 1e-8 and norms.max() > 1e8 and norms.max() < 1.01e9,
    }
    assert held[kind]
    texts = cases.make_tokens(kind, 50, 16, seed=1)
    assert len(texts) == 50
    assert 0 < texts.lengths[0] <= texts.lengths.max() <= 8


def test_the_first_difference_has_both_keys():
    cpu = Run(np.array([[3, 1], [2, 0]], np.int32), np.array([[1, 0.5], [2, 1]], np.float32))
    gpu = Run(np.array([[3, 1], [2, 1]], np.int32), np.array([[1, 0.5], [2, 1]], np.float32))
    assert compare_runs(cpu, cpu) == (0, None)
    differing, first = compare_runs(gpu, cpu)
    assert differing == 1
    assert str(first) == (
        "query 1, rank 1: GPU document 1 score 1 (0x3f800000), CPU document 0 score 1 (0x3f800000)"
    )
    with pytest.raises(ValueError, match=r"results \(1, 2\) on GPUs and \(2, 2\) on the CPU"):
        compare_runs(Run(gpu.docs[:1], gpu.scores[:1]), cpu)


def test_nothing_checked_is_no_success():
    report = Report({}, (), (), {})
    assert report.exit_status == 1
    assert json.loads(write_json(report))["verdict"].startswith(
        "selftest gpu: nothing could be checked; 0 comparisons equal"
    )


def test_what_the_gpu_is_held_to_is_not_a_gpu():
    from harness.selftest.machine import open_on_cpu

    with faked():
        searcher = open_on_cpu(cases.make_vectors("unit", 20, 4, 0))
    assert isinstance(searcher, exact.DenseSearcher)
