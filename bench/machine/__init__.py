"""The machine that a run meets: device, threads, memory, signals."""
