"""The subcommands that need a cluster; each module's `app` is found by the entry-point group orchestrator.commands."""
