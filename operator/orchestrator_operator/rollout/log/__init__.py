"""The chained log of decisions: written, mended after a crash, verified."""
