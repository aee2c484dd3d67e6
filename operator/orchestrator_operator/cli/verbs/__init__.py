"""What people do with Executions by `kubectl orchestrator`: through the API server, with their own login and rights."""
