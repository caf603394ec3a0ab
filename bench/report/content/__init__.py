"""What a report says: sections, verdicts, captions, numbers. No format."""
