"""Benchmarks: what the fast routines gain over the obvious way, measured side by side.

They are not tests: nothing here is collected by pytest, and nothing fails for being
slow on a busy machine. Each checks that both ways give the same numbers, and exits
with status 1 if not.

    python -m tests.bench.resampling       bootstrap against a loop over scikit-learn
"""
