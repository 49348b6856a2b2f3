"""A file a format, whose `FORMAT` is what `flows.parsing.Description` says."""
