"""How fast the engine is, beside its peers and by itself: `make bench`. Never part of the tests: it measures time."""
