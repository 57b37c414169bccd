"""PyTorch's names for what is called otherwise here: errors say what to write instead.

Invariant: nothing here computes anything. Reading such a name raises AttributeError, so `hasattr`
says no, and the names are not in `dir`.
"""

# t.name: what to write.
METHODS = {
    "view": "t.reshape(shape)", "view_as": "t.reshape(other.shape)",
    "flatten": "t.reshape((-1,)), or nn.functional.flatten", "permute": "ad.permute_dims(t, axes)",
    "unsqueeze": "ad.expand_dims(t, axis)", "swapaxes": "ad.swapaxes(t, a, b)", "t": "t.T",
    "expand": "ad.broadcast_to(t, shape)", "repeat": "ad.tile(t, counts)", "clone": "ad.copy(t)",
    "contiguous": "t itself: operations take any layout", "dim": "t.ndim", "numel": "t.size",
    "nelement": "t.size", "cpu": "t itself: everything is on the CPU",
    "cuda": "t itself: everything is on the CPU", "to": "t.astype(dtype); devices are left out",
    "type": "t.astype(dtype)", "int": "t.astype(ad.int32)", "bool": "t.astype(ad.bool_)",
    "half": "t.astype(ad.float32): there are no 16-bit floats", "clamp": "ad.clip(t, min, max)",
    "clamp_": "t.copy_(ad.clip(t, min, max))", "masked_fill": "ad.where(mask, value, t)",
    "masked_fill_": "t.copy_(ad.where(mask, value, t))", "std": "ad.std(t, axis)",
    "norm": "ad.sqrt(ad.square(t).sum())", "topk": "np.argsort of t.numpy()",
    "gather": "ad.take_along_axis(t, indices, axis)", "index_select": "ad.take(t, indices, axis)",
    "chunk": "ad.split(t, count, axis)", "split": "ad.split(t, places, axis)",
    "unbind": "ad.unstack(t, axis)", "cumsum": "ad.cumulative_sum(t, axis)", "eq": "t == other",
    "ne": "t != other", "gt": "t > other", "ge": "t >= other", "lt": "t < other",
    "le": "t <= other", "neg": "-t", "mm": "t @ other", "bmm": "t @ other", "sub": "t - other",
    "mul": "t * other", "div": "t / other",
    "new_zeros": "ad.zeros(shape, dtype=t.dtype)", "data": "t, inside `with ad.no_grad():`",
}
# ad.name: what to write.
FUNCTIONS = {
    "cat": "ad.concat(arrays, axis)", "clamp": "ad.clip(x, min, max)", "view": "ad.reshape",
    "permute": "ad.permute_dims(x, axes)", "transpose": "ad.swapaxes(x, a, b)",
    "unsqueeze": "ad.expand_dims(x, axis)", "flatten": "nn.functional.flatten",
    "cumsum": "ad.cumulative_sum(x, axis)", "mm": "x @ y", "bmm": "x @ y", "einsum": "@, * and sum",
    "clone": "ad.copy(x)", "Generator": "nn.init.generator(seed)", "chunk": "ad.split",
    "index_select": "ad.take", "unbind": "ad.unstack", "masked_fill": "ad.where(mask, value, x)",
    "device": "nothing: everything is on the CPU", "cuda": "nothing: everything is on the CPU",
    "save": "nn.save(model, path)", "load": "nn.load(path)", "nn": "import nn", "optim": "nn.optim",
    "utils": "nn.utils, nn.data", "inference_mode": "ad.no_grad()",
    "float": "ad.float32", "double": "ad.float64", "long": "ad.int64", "int": "ad.int32",
    "FloatTensor": "ad.tensor(data)", "LongTensor": "ad.tensor(data)", "relu_": "ad.relu",
    "compile": "the function itself: there is nothing to compile", "autograd": "ad.grad and others",
}
KEYWORDS = {"dim": "axis", "keepdim": "keepdims", "input": "x", "other": "y", "dims": "axes"}


def function_hint(name):
    """`; ...` for a function of PyTorch's that has another name here, else nothing."""
    return f"; for PyTorch's torch.{name} write {FUNCTIONS[name]}" if name in FUNCTIONS else ""


def keyword_hint(name):
    """`; ...` for a keyword of PyTorch's that has another name here, else nothing."""
    return f" (PyTorch's {name} is {KEYWORDS[name]} here)" if name in KEYWORDS else ""


def method(name):
    """A property that says what to write instead of `t.name`."""
    def refuse(self):
        raise AttributeError(f"'Tensor' has no attribute {name!r}; for PyTorch's t.{name} write "
                             f"{METHODS[name]}")
    return property(refuse)
