"""Commands that are killed at each of their file operations in turn, and run again.

python -m tests.soak [COMMAND ...] [--most N]     a table: kills and failures of each command
"""
