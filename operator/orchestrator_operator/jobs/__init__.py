"""`container` nodes as Kubernetes Jobs."""
