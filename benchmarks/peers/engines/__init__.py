"""The engines, each a module that says how its user would write every workload.

A module offers `setup(threads)`, `version()`, `program(row, mode)`: a function that runs one
repetition and gives its result, or None where the engine cannot express the workload, and
`numbers(result)`: that result as a flat array.  Inference gives outputs; training updates the
weights and gives the loss, or the gradients where nothing is trained.  `pooled()`: bytes that the
engine's pool holds for reuse.  Invariant: a module imports its engine when it is set up, no other.
"""

import importlib
from typing import NamedTuple


class Engine(NamedTuple):
    """How an engine is called, the package that must be installed, its module, and its options.

    ours: a way to use this engine, beside which others are set.
    """

    title: str
    package: str
    module: str
    options: dict = {}
    ours: bool = False

    def load(self, threads):
        """The engine's module, set up."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        module.setup(threads, **self.options)
        return module


ENGINES = {
    "autodiff": Engine("autodiff", "autodiff", "ours", ours=True),
    "captured": Engine("autodiff captured", "autodiff", "ours", {"captured": True}, ours=True),
    "frozen": Engine("autodiff frozen", "autodiff", "ours", {"captured": True, "frozen": True},
                     ours=True),
    "eager": Engine("PyTorch", "torch", "pytorch"),
    "compiled": Engine("PyTorch compiled", "torch", "pytorch", {"compiled": True}),
    "jax": Engine("JAX", "jax", "jax_jit"),
    "ort": Engine("ONNX Runtime", "onnxruntime", "onnx_runtime"),
    "autograd": Engine("HIPS autograd", "autograd", "hips"),
}
