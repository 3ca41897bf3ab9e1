"""Every reader of foreign files against an independent, lenient one, on files that were damaged.

HARNESS_FUZZ_EXAMPLES and HARNESS_FUZZ_SEED decide how many files each reader is given, and which.
"""
