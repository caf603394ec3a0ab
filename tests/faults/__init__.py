"""Faults injected into whole runs, and what must be left of them: `nox -s faults`; see docs/reliability.md."""
