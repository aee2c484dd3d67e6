"""Executions as resources of a real API server: how many a second, at what cost, and beside Argo Workflows.

`make bench-cluster` (`ARGS=--quick`: a look). The load, the operator, a worker, PostgreSQL, etcd and the API server
share the machine, so what counts are ratios within one run.
"""
