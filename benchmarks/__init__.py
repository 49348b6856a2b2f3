"""What Logwax costs, beside the limits and the naive way, measured in the same run."""
