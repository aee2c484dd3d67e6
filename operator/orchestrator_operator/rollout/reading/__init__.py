"""Everything that a decision depends on, read into frozen values."""
