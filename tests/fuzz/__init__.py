"""Fuzzing of every reader of files: `python -m tests.fuzz` (nox -s fuzz). docs/reliability.md says what is promised."""
