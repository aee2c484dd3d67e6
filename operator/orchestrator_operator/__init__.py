"""The Kubernetes operator: custom resources, the rollout controller, the local control plane."""
