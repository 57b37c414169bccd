"""This engine beside its peers: the same models, weights and data, each engine in its own process.

`python -m benchmarks peers`.  rows.py says what is computed, engines/ how a user of each engine
would write it, worker.py is one engine's process, session.py takes them in turns, memory.py asks
what they hold, limits.py what the machine could do, table.py prints.
"""
