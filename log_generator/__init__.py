"""Writes realistic log files, seeded, for trying and measuring: `python -m log_generator`."""
