"""From what was gathered to a verdict for each criterion, and what is wrong with the experiment itself. Pure."""
