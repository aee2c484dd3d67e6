"""The demo: the product's main job, done for real on this machine, watched and checked.

`shop` and `ledger` are the outside world that the sample workflows call; `traffic` makes executions; `stack` starts and
ends the processes; `watch` gathers facts; `checks` judges them (pure); `screen` shows them; `story` is the sequence.
"""
