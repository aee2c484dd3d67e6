"""The command line that needs no cluster."""
