"""How good decisions are: the rivals' rules beside ours, on the same data. No part of the tests: it takes hours."""
