"""The real controller of Argo Rollouts, on a real API server and a real Prometheus, beside its re-statement.

`make bench WHAT=rollout-argo` builds it from its Go module on the first use (some ten minutes), then takes four.
"""
