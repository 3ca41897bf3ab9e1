"""What tests of indexes are given."""

from tests.indexes.faiss_gpu import fake_gpu

__all__ = ["fake_gpu"]
