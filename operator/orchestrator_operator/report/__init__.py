"""Pictures of a rollout: one page for a browser, one chart for a terminal, both from the record of its decisions."""
