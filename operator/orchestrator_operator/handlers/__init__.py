"""What happens when a resource changes: gather, decide (pure), apply."""
