"""Durable workflows: the engines, the store, the router and the command line that needs no cluster."""
