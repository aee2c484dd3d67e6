"""What a node does: one file for each type. registry.py lists them, runner.py runs them."""
