"""The controller's own judge and plan, driven by history, by a file of counts, or by worlds that are made up."""
