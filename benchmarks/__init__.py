"""Benchmarks: what training costs over inference, measured on real data with this engine.

`autodiff bench` is the main job; `python -m benchmarks` is the same.  Invariant: only public names
of `autodiff` and `nn` are used, and every figure printed or written comes from the run itself.
"""
