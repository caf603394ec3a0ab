"""The machine that a program runs on: device, threads, memory, signals."""
