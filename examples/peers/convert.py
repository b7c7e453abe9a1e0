"""Float ONNX to int8 layers, which `emit.py` writes as a .tflite file and as a layer list.

The scheme is that of the TFLite int8 specification: activations asymmetric per tensor, convolution weights symmetric per
channel, dense weights symmetric per tensor, biases int32, ranges by minimum and maximum over the samples.
Operators: Conv (depthwise too), Gemm, Relu, Clip to 0..6, Add, AveragePool, GlobalAveragePool, MaxPool, Softmax and the
reshapes between them; constants are folded by onnxruntime. Anything else is refused by name.
"""

import dataclasses
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper


class Refused(Exception):
    """The network holds something that this converter cannot express."""


@dataclasses.dataclass
class Tensor:
    """Activation: NHWC or [1, n], real = scale * (q - zero)."""

    shape: tuple
    scale: float = 0.0
    zero: int = 0


@dataclasses.dataclass
class Layer:
    """One operator; `weights` are [out, kh, kw, in], depthwise [1, kh, kw, out], dense [out, in]."""

    kind: str  # conv, depthwise, dense, avgpool, maxpool, add, reshape, softmax
    inputs: list
    output: str
    act: str = "none"  # none, relu, relu6
    weights: np.ndarray = None  # float at first, int8 after `quantize`
    bias: np.ndarray = None
    w_scale: np.ndarray = None
    kernel: tuple = (1, 1)
    stride: tuple = (1, 1)
    pad: tuple = (0, 0)  # top, left; bottom and right follow from the shapes
    same: bool = False


@dataclasses.dataclass
class Network:
    """Layers in order of execution, tensors by name; `input_nchw` if the ONNX input is NCHW."""

    tensors: dict
    layers: list
    input: str
    output: str
    input_nchw: bool

    def to_input(self, x):
        """A sample in the layout of the ONNX input, as the int8 network takes it."""
        return np.moveaxis(x, 1, -1) if self.input_nchw else x


def session(model):
    """Float reference on one thread; `model` is a path or serialized."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_batch_one(path):
    """The ONNX network with its open leading dimensions set to 1."""
    model = onnx.load(path)
    for port in [*model.graph.input, *model.graph.output]:
        dims = port.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    return model


def simplified(path):
    """The network after constant folding."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(pathlib.Path(folder) / "simple.onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 3
        options.optimized_model_filepath = out
        ort.InferenceSession(with_batch_one(path).SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(out)


def ranges(model, samples):
    """Minimum and maximum of every value, and its shape, over `samples` [n, ...] in the layout of the ONNX input."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    declared = {o.name for o in model.graph.output}
    for node in model.graph.node:
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name not in declared)
    run = session(model.SerializeToString())
    names = [o.name for o in run.get_outputs()]
    port = run.get_inputs()[0]
    found = {port.name: (float(samples.min()), float(samples.max()), tuple(port.shape))}
    for sample in samples:
        for name, value in zip(names, run.run(names, {port.name: sample.reshape(port.shape)})):
            lo, hi, _ = found.get(name, (np.inf, -np.inf, None))
            found[name] = (min(lo, float(value.min())), max(hi, float(value.max())), value.shape)
    return found


def nhwc(shape):
    """Shape of an NCHW value in NHWC."""
    return (shape[0], *shape[2:], shape[1])


def window(attrs, shape, kernel, out, node):
    """Kernel, stride and padding, which has to be what TFLite calls SAME or VALID."""
    stride = tuple(attrs.get("strides", [1, 1]))
    pads = list(attrs.get("pads", [0] * 4))
    if attrs.get("auto_pad", b"NOTSET") != b"NOTSET" or set(attrs.get("dilations", [1])) != {1} or attrs.get("ceil_mode"):
        raise Refused(f"{node.op_type} {node.name}: auto_pad, dilation or ceil_mode")
    total = [max((o - 1) * s + k - i, 0) for o, s, k, i in zip(out[1:3], stride, kernel, shape[1:3])]
    wanted = [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]
    if any(pads) and (pads != wanted or [-(-i // s) for i, s in zip(shape[1:3], stride)] != list(out[1:3])):
        raise Refused(f"{node.op_type} {node.name}: padding {pads} is neither SAME nor VALID")
    return {"kernel": tuple(kernel), "stride": stride, "pad": tuple(pads[:2]), "same": any(pads)}


def load(path, samples):
    """Layers of the ONNX file in float, and the range of every tensor."""
    graph = (model := simplified(path)).graph
    seen = ranges(model, samples)
    constant = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    readers = [name for node in graph.node for name in node.input] + [o.name for o in graph.output]
    port = graph.input[0].name
    entry = next(n for n in graph.node if port in n.input)
    input_nchw = len(seen[port][2]) == 4 and entry.op_type in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")
    shape = nhwc(seen[port][2]) if input_nchw else seen[port][2]
    tensors, layers, alias, maker = {port: Tensor(shape)}, [], {port: port}, {}

    def emit(node, layer):
        name = node.output[0]
        full = seen[name][2]
        tensors[name] = Tensor(nhwc(full) if len(full) == 4 else full)
        alias[name], maker[name] = name, layer
        layers.append(layer)

    def absorb(node, source):
        """`node` becomes a part of the layer that makes `source`, if nothing else reads that."""
        layer = maker.get(source)
        if layer is None or readers.count(node.input[0]) != 1 or layer.act != "none":
            raise Refused(f"{node.op_type} {node.name}: its operand has other readers")
        name = node.output[0]
        tensors[name] = tensors.pop(source)
        layer.output = alias[name] = name
        maker[name] = layer
        return layer

    for node in graph.node:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        dynamic = [alias[i] for i in node.input if i in alias]
        fixed = [constant[i] for i in node.input if i in constant]
        if not dynamic:
            raise Refused(f"{node.op_type} {node.name}: no operand that this converter knows")
        source, out = dynamic[0], node.output[0]
        shape, out_shape = tensors[source].shape, nhwc(seen[out][2]) if len(seen[out][2]) == 4 else seen[out][2]
        match node.op_type:
            case "Conv" if len(shape) == 4:
                weights, groups = fixed[0], attrs.get("group", 1)
                bias = fixed[1] if len(fixed) > 1 else np.zeros(len(weights))
                geometry = window(attrs, shape, weights.shape[2:], out_shape, node)
                if groups == 1:
                    kind, weights = "conv", weights.transpose(0, 2, 3, 1)
                elif weights.shape[1] == 1:
                    kind, weights = "depthwise", weights.transpose(1, 2, 3, 0)
                else:
                    raise Refused(f"Conv {node.name}: {groups} groups")
                emit(node, Layer(kind, [source], out, weights=weights, bias=bias, **geometry))
            case "Gemm" if not attrs.get("transA") and attrs.get("alpha", 1) == 1 and attrs.get("beta", 1) == 1:
                weights = fixed[0] if attrs.get("transB") else fixed[0].T
                before = maker.get(source)
                if before and before.kind == "reshape" and len(tensors[before.inputs[0]].shape) == 4:
                    # ONNX flattens NCHW, the int8 network NHWC.
                    _, h, w, c = tensors[before.inputs[0]].shape
                    weights = weights.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(len(weights), -1)
                bias = fixed[1] if len(fixed) > 1 else np.zeros(len(weights))
                emit(node, Layer("dense", [source], out, weights=weights, bias=bias))
            case "Relu":
                absorb(node, source).act = "relu"
            case "Clip" if [float(f) for f in fixed] == [0.0, 6.0]:
                absorb(node, source).act = "relu6"
            case "Mul" | "Add" if len(dynamic) == 1 and maker.get(source) and maker[source].kind == "dense":
                layer, k = absorb(node, source), fixed[0].reshape(-1)
                if node.op_type == "Mul":
                    layer.weights, layer.bias = layer.weights * k[:, None], layer.bias * k
                else:
                    layer.bias = layer.bias + k
            case "Add" if len(dynamic) == 2 and tensors[dynamic[0]].shape == tensors[dynamic[1]].shape:
                emit(node, Layer("add", dynamic, out))
            case "AveragePool" | "MaxPool":
                geometry = window(attrs, shape, attrs["kernel_shape"], out_shape, node)
                emit(node, Layer("avgpool" if node.op_type == "AveragePool" else "maxpool", [source], out, **geometry))
            case "GlobalAveragePool":
                emit(node, Layer("avgpool", [source], out, kernel=shape[1:3], stride=shape[1:3]))
            case "Transpose" if source == port and list(attrs["perm"]) == [0, 3, 1, 2]:
                alias[out] = source
            case "Reshape" | "Flatten" | "Squeeze":
                if out_shape == shape:
                    alias[out] = source
                elif len(out_shape) == 2 and out_shape[0] == 1:
                    emit(node, Layer("reshape", [source], out))
                else:
                    raise Refused(f"{node.op_type} {node.name}: {shape} to {out_shape}")
            case "Softmax" if len(shape) == 2:
                emit(node, Layer("softmax", [source], out))
            case _:
                raise Refused(f"{node.op_type} {node.name}: not supported by the converter to .tflite")
    return Network(tensors, layers, port, alias[graph.output[0].name], input_nchw), seen


def activation_scale(lo, hi):
    """Scale and zero point of int8 codes for a range, which is widened to hold 0."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = np.float32(max(hi - lo, 1e-6) / 255)
    return float(scale), int(np.clip(round(-128 - lo / scale), -128, 127))


def quantize(network, seen):
    """Chooses scales, and replaces the weights by integers."""
    tensors = network.tensors
    for name, tensor in tensors.items():
        tensor.scale, tensor.zero = activation_scale(*seen[name][:2])
    for layer in network.layers:
        source, target = tensors[layer.inputs[0]], tensors[layer.output]
        if layer.kind in ("reshape", "avgpool", "maxpool"):
            target.scale, target.zero = source.scale, source.zero
        if layer.kind == "softmax":
            target.scale, target.zero = 1 / 256, -128
        if layer.weights is None:
            continue
        axes = {"conv": (1, 2, 3), "depthwise": (0, 1, 2), "dense": None}[layer.kind]
        peak = np.abs(layer.weights).max(axis=axes).reshape(-1)
        # A channel of zeros still needs a scale, and a bias that fits 32 bits.
        least = np.abs(layer.bias).max() / (source.scale * 2**30)
        layer.w_scale = np.maximum(np.maximum(peak / 127, least), 1e-9).astype(np.float32)
        shape = {"conv": (-1, 1, 1, 1), "depthwise": (1, 1, 1, -1), "dense": (-1, 1)}[layer.kind]
        layer.weights = np.clip(np.round(layer.weights / layer.w_scale.reshape(shape)), -127, 127).astype(np.int8)
        layer.bias = np.round(layer.bias / (source.scale * layer.w_scale.astype(np.float64))).astype(np.int32)
    return network
