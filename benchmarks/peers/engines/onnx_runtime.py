"""ONNX Runtime, inference only: graphs made with onnx.helper, its fused operations where they are.

Attention is the runtime's own fused causal one; every graph optimisation is on.
"""

import numpy as np

OPSET = 20


def setup(threads):
    global ort, onnx, THREADS
    import onnx
    import onnxruntime as ort
    THREADS = threads


def version():
    return ort.__version__


def numbers(result):
    return np.ravel(result)


def pooled():
    return 0


def program(row, mode):
    makers = {"mlp": _mlp, "cnn": _cnn, "gpt": _gpt, "lstm": _lstm, "elementwise": _elementwise}
    if mode == "train" or row.kind not in makers:
        return None
    x = row.batch()[0]
    graph = Graph(row.weights())
    graph.close(x, makers[row.kind](graph, **row.sizes))
    session = graph.session()
    del graph
    inputs = {"x": x}
    return lambda: session.run(None, inputs)[0]


class Graph:
    """Nodes and initializers of a model with the input "x"; names are made up as it grows."""

    def __init__(self, weights):
        self.nodes, self.weights, self.bytes = [], dict(weights), None

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        """Add a node; the names of its outputs (one: a string)."""
        names = [f"t{len(self.nodes)}.{k}" for k in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        """Add an initializer."""
        self.weights[name] = np.ascontiguousarray(array)
        return name

    def linear(self, name, x):
        """x W^T + b on the last axis."""
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        return self("Add", self("MatMul", x, weight), f"{name}.bias")

    def gemm(self, name, x):
        """The same of a matrix."""
        return self("Gemm", x, f"{name}.weight", f"{name}.bias", transB=1)

    def close(self, x, output):
        helper = onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(x.dtype)
        used = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes, "model", [helper.make_tensor_value_info("x", kind, x.shape)],
            [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(np.asarray(w), name)
             for name, w in self.weights.items() if name in used])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET),
                                                        helper.make_opsetid("com.microsoft", 1)])
        model.ir_version = 10
        self.bytes = model.SerializeToString()

    def session(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        return ort.InferenceSession(self.bytes, options, providers=["CPUExecutionProvider"])


def _elementwise(g, **_):
    product = g("Mul", g("Tanh", "x"), g("Sigmoid", "x"))
    bell = g("Exp", g("Neg", g("Mul", "x", "x")))
    return g("ReduceSum", g("Add", product, bell), keepdims=0)


def _mlp(g, widths, activation, **_):
    x, last = "x", len(widths) - 2
    for k in range(last + 1):
        x = g.gemm(str(2 * k), x)
        x = g({"tanh": "Tanh", "relu": "Relu"}[activation], x) if k < last else x
    return x


def _cnn(g, **_):
    x = "x"
    for name in ("0", "3"):
        x = g("Relu", g("Conv", x, f"{name}.weight", f"{name}.bias", kernel_shape=[3, 3],
                        pads=[1, 1, 1, 1]))
        x = g("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return g.gemm("9", g("Relu", g.gemm("7", g("Flatten", x))))


def _gpt(g, layers, width, heads, **_):
    def norm(name, x):
        return g("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=1e-5)
    x = g("Add", g("Gather", "tokens.weight", "x"), "positions.weight")
    for k in range(layers):
        at = f"blocks.{k}"
        qkv = g.constant(f"{at}.qkv", g.weights[f"{at}.attention.qkv.weight"].T)
        y = g("Attention", norm(f"{at}.norm1", x), qkv, f"{at}.attention.qkv.bias",
              domain="com.microsoft", num_heads=heads, unidirectional=1)
        x = g("Add", x, g.linear(f"{at}.attention.out", y))
        h = g("Gelu", g.linear(f"{at}.mlp.0", norm(f"{at}.norm2", x)))
        x = g("Add", x, g.linear(f"{at}.mlp.2", h))
    return g.linear("head", norm("norm", x))


def _lstm(g, hidden, **_):
    def gates(w):               # PyTorch's order i f g o, ONNX's i o f g
        i, f, c, o = np.split(w, 4)
        return np.concatenate([i, o, f, c])[None]
    w = {name: gates(g.weights[f"lstm.{name}_l0"])
         for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    bias = g.constant("bias", np.concatenate([w["bias_ih"], w["bias_hh"]], axis=1))
    x = g("Transpose", g("Gather", "embedding.weight", "x"), perm=[1, 0, 2])
    out = g("LSTM", x, g.constant("w", w["weight_ih"]), g.constant("r", w["weight_hh"]), bias,
            hidden_size=hidden)                                         # (T, 1, N, hidden)
    axis = g.constant("axis", np.array([1]))
    return g.linear("head", g("Transpose", g("Squeeze", out, axis), perm=[1, 0, 2]))
