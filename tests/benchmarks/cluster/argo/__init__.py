"""The real controller of Argo Workflows on a real API server, with Pods that end as soon as they are created.

It is built from its Go module on the first use, some ten minutes. What a real node takes to start a container is left
out, in its favour: what is compared is one orchestrator with the other.
"""
