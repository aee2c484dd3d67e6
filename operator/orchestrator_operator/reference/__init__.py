"""The reference pages below docs/reference, written from the code that they describe.

python -m orchestrator_operator.reference            writes them
python -m orchestrator_operator.reference --check    exit code 1 if a committed page differs
"""
