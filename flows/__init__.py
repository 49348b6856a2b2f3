"""What runs: each module is one dataflow."""
