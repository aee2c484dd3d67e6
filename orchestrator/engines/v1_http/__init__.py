"""V1 behind HTTP: executions are posted to a deployed legacy endpoint, and how they end is learnt from its answer, from
its table of executions, or from its callback.

It stays the honest baseline: an execution is posted at most once, and nothing is repeated for it.
"""
