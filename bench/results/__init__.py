"""A results folder: its layout, records, locks and statuses. No torch."""
