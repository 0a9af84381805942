"""Benchmarks: what the fast routines gain over the obvious way, measured side by side.

They are not tests: nothing here is collected by pytest, and nothing fails for being
slow on a busy machine.

    python -m tests.bench.importing          imports against a plain loop over files
    python -m tests.bench.resampling         bootstrap against a loop over scikit-learn
    python -m tests.bench.analysing          the whole analysis of 6 x 300 x 3 ratings
    python -m tests.bench.simulated_studies  how often each test rejects without a cause
    python -m tests.bench.rating             the server's time for a page and a rating
    python -m tests.bench.reading_room       from a key press to the next case drawn
"""
