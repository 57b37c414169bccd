"""PyTorch's keywords that this library has no use for, and what becomes of them.

One is taken with the values that leave the result as it is, and else refused by name.  Invariant:
what PyTorch accepts is computed or refused with the way out; nothing that counts is passed over.
"""

import functools
import inspect

from .errors import ArgumentError

ANYTHING = type("Anything", (), {"__contains__": lambda self, value: True})()

# keyword: (values that change nothing, what to do about the others)
FOREIGN = {
    "device": ((None, "cpu"), "everything is computed on the CPU: leave it out"),
    "size_average": ((None,), "use reduction='mean' or 'sum'"),
    "reduce": ((None,), "use reduction='none', 'mean' or 'sum'"),
    "return_indices": ((False,), "the places of the maxima are not given"),
    "max_norm": ((None,), "scale the table's rows between the steps"),
    "norm_type": ((2.0,), "it goes with max_norm"),
    "scale_grad_by_freq": ((False,), "divide the gradient's rows between backward and step"),
    "sparse": ((False,), "gradients are dense"),
    "_weight": ((None,), "use Embedding.from_pretrained"),
    "_freeze": ((False,), "use Embedding.from_pretrained"),
    "proj_size": ((0,), "put a Linear after the layer"),
    "add_bias_kv": ((False,), "append learned rows to key and value"),
    "add_zero_attn": ((False,), "append a row of zeros to key and value"),
    "enable_gqa": ((False,), "repeat the heads of key and value"),
    "align_corners": ((None,), "mode is 'nearest', which has no corners to align"),
    "recompute_scale_factor": ((None, False), "give the size"),
    "antialias": ((False,), "mode is 'nearest'"),
    "enable_nested_tensor": (ANYTHING, ""),
    "mask_check": (ANYTHING, ""),
    "foreach": (ANYTHING, ""),          # how the update is computed, not what
    "fused": (ANYTHING, ""),
    "capturable": ((False,), "there is no graph to capture"),
    "differentiable": ((False,), "compute the update in a function of your own"),
    "decoupled_weight_decay": ((False,), "use AdamW"),
    "multi_avg_fn": ((None,), "use avg_fn=get_ema_avg_fn(decay)"),
    "num_workers": ((0,), "batches are made ahead by a thread: prefetch=2"),
    "prefetch_factor": ((None,), "use prefetch, the batches made ahead"),
    "pin_memory": (ANYTHING, ""),       # hints for workers and for the way to a GPU
    "pin_memory_device": (ANYTHING, ""),
    "persistent_workers": (ANYTHING, ""),
    "timeout": (ANYTHING, ""),
    "worker_init_fn": ((None,), "there are no worker processes"),
    "multiprocessing_context": ((None,), "there are no worker processes"),
    "in_order": ((True,), "batches come in order"),
    "out": ((None,), "use the value returned"),
    "_stacklevel": (ANYTHING, ""),
    "weight": ((None,), "multiply it with the losses of reduction='none'"),
}


def ported(function, name=None):
    """`function` that also knows PyTorch's keywords that it does not have itself."""
    name = name or function.__name__
    parameters = inspect.signature(function).parameters.values()
    own = {p.name for p in parameters}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return function

    @functools.wraps(function)
    def run(*args, **kwargs):
        if not kwargs.keys() <= own:
            kwargs = {k: v for k, v in kwargs.items() if k in own or not _asks_for_nothing(
                name, k, v)}
        return function(*args, **kwargs)
    return run


def _asks_for_nothing(name, keyword, value):
    """Whether `keyword` is PyTorch's and may be left out; False where nobody knows it."""
    harmless, advice = FOREIGN.get(keyword, ((), None))
    if advice is None:
        return False
    if value in harmless or keyword == "device" and str(value) == "cpu":
        return True
    raise ArgumentError(f"{name}: {keyword}={value!r} is not supported: {advice}")
