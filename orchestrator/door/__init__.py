"""The HTTP door: executions for callers that speak HTTP, routed and logged as an Execution resource is."""
