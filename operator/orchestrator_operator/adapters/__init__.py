"""Ports to the outside: the Kubernetes API and Prometheus."""
