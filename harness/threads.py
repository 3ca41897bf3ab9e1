"""What threads of one process must not do at the same time."""

from __future__ import annotations

import threading

PARSING = threading.RLock()
"""Held where Python makes a syntax tree of text: numpy does, for the header of an array, and so
does `inspect`, for the signature of what is written in C. Before Python 3.12 that may fail in two
threads at a time (https://github.com/python/cpython/issues/106905).
"""
