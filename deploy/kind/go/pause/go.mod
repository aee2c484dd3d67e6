module orchestrator.dev/deploy/kind/pause

go 1.26.0
