"""Names, attributes and signatures that the harness uses are those of the real wheel."""

from __future__ import annotations

import inspect
from importlib import metadata
from operator import attrgetter

import faiss
import pytest
from packaging.requirements import Requirement

from tests.wheels.uses import Setting, Use, find_settings, find_uses

CUVS = {"GpuIndexCagra", "GpuIndexCagraConfig", "SearchParametersCagra"}  # of faiss-gpu-cuvs alone
USES = [one for one in find_uses() if one.name.partition(".")[0] not in CUVS]
SETTINGS = [one for one in find_settings() if one.kind not in CUVS]


def test_there_is_something_to_hold():
    names = {one.name for one in USES}
    assert {"get_num_gpus", "StandardGpuResources"} <= names
    assert "cvar.distance_compute_blas_threshold" in names
    assert len(USES) > 30
    assert "useFloat16" in {one.attribute for one in SETTINGS}


def test_this_is_the_wheel_for_gpus():
    assert metadata.version("faiss-gpu") == faiss.__version__
    assert not CUVS & set(dir(faiss))


def test_it_has_what_it_asks_for():
    """Its NVIDIA wheels are installed by name, without resolving."""
    for line in metadata.requires("faiss-gpu") or []:
        wanted = Requirement(line)
        assert wanted.specifier.contains(metadata.version(wanted.name)), line


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where}-{use.name}")
def test_a_name_is_there_and_takes_what_it_is_given(use: Use):
    found = attrgetter(use.name)(faiss)
    if use.arguments is None:
        return
    assert callable(found)
    try:
        signature = inspect.signature(found)
    except ValueError:  # of C
        return
    number, names = use.arguments
    signature.bind(*[None] * number, **dict.fromkeys(names))


@pytest.mark.parametrize("one", SETTINGS, ids=lambda one: f"{one.where}-{one.attribute}")
def test_an_attribute_is_one_of_its_class(one: Setting):
    assert hasattr(getattr(faiss, one.kind), one.attribute)


def test_the_wheel_itself_takes_any_attribute():
    """A name that is written wrong is ignored in silence: hence the test before."""
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat61 = True
    assert not options.useFloat16


@pytest.mark.parametrize(
    "kind",
    [
        "GpuIndexFlat",
        "GpuIndexIVFFlat",
        "GpuIndexIVFPQ",
        "GpuIndexIVFScalarQuantizer",
        "IndexReplicas",
        "IndexShards",
    ],
)
def test_what_is_searched_takes_parameters(kind):
    names = inspect.signature(getattr(faiss, kind).search).parameters
    assert list(names)[1:3] == ["x", "k"]
    assert "params" in names


def test_the_fake_has_no_name_that_the_wheel_has_not():
    fake = pytest.importorskip("tests.indexes.faiss_gpu", reason="there is no fake of faiss-gpu")
    before = dict(vars(faiss))
    with fake.faked(1):
        put = {name: value for name, value in vars(faiss).items() if value is not before.get(name)}
    assert {"StandardGpuResources", "index_cpu_to_gpu_multiple_py"} <= put.keys()
    assert put.keys() - before.keys() == set()
    options = [name for name, value in put.items() if getattr(value, "__slots__", ())]
    assert "GpuMultipleClonerOptions" in options
    for name in options:
        faked, real = put[name](), before[name]()
        for attribute in faked.__slots__:
            assert getattr(faked, attribute) == getattr(real, attribute), f"{name}.{attribute}"
