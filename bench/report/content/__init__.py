"""The content of a report, independent of its format: sections, verdicts, captions, numbers."""
