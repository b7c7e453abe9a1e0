#!/usr/bin/env python3
"""Train the small float networks of this folder and export them to ONNX.

    python3.11 -m venv .venv
    .venv/bin/pip install -r requirements.txt
    .venv/bin/python train.py                  # all networks, about a minute on one core
    .venv/bin/python train.py --only digits_zoo --out out

Nothing is downloaded: both data sets are packaged with scikit-learn.

Data
    digits          1797 images of 8x8, grey levels 0..16 divided by 16 -> 0..1
    breast cancer   569 rows of 30 features; class 0 = malignant, class 1 = benign
    Row i is a TEST row iff i % 5 == 4, otherwise a TRAIN row. Cancer features are standardized before they
    reach the network: float32 values, minus the TRAIN mean, divided by the TRAIN population standard
    deviation (both computed in float64), rounded to float32.

Every file comes from a real exporter, so that an importer meets what users will bring: the TorchScript exporter of
PyTorch (NCHW), tf2onnx (NHWC input, layout changes inside) and the static quantizer of onnxruntime (QDQ).
One thread and fixed seeds: the same versions on the same kind of processor give the same weights.
"""
import argparse
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
import tf2onnx
import torch
import torch.nn.functional as F
from keras import layers
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

warnings.filterwarnings("ignore", message="Constant folding")  # said of the subgraph that computes the amounts of Pad

SEED = 7
TOLERANCE = 1e-4


# ---------------------------------------------------------------- data

def split(x, y):
    """(train x, train y, test x, test y) by row number."""
    test = np.arange(len(x)) % 5 == 4
    return x[~test], y[~test].astype(np.int64), x[test], y[test].astype(np.int64)


def digits(layout):
    x = (load_digits().data / 16.0).astype(np.float32)
    x = x.reshape(-1, 1, 8, 8) if layout == "NCHW" else x.reshape(-1, 8, 8, 1)
    return split(x, load_digits().target)


def cancer():
    raw = load_breast_cancer()
    x_train, y_train, x_test, y_test = split(raw.data.astype(np.float32), raw.target)
    mean = x_train.mean(axis=0, dtype=np.float64)
    std = x_train.std(axis=0, dtype=np.float64)
    scale = lambda x: ((x - mean) / std).astype(np.float32)
    return scale(x_train), y_train, scale(x_test), y_test


# ---------------------------------------------------------------- networks: PyTorch

def conv_bn_relu(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class DigitsCnn(nn.Module):
    """Plain CNN. The 2x2 map before Flatten makes the NCHW order of the flattened vector matter."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn_relu(1, 8), nn.MaxPool2d(2), conv_bn_relu(8, 16), nn.Conv2d(16, 24, 3), nn.ReLU())
        self.classifier = nn.Linear(24 * 2 * 2, 10)

    def logits(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))

    forward = logits


class Residual(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn_relu(cin, cout, stride), nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
        self.skip = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


class DigitsResnet(nn.Module):
    """Two residual adds, the second one with a 1x1 stride-2 projection."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn_relu(1, 12)
        self.block1 = Residual(12, 12, 1)
        self.block2 = Residual(12, 24, 2)
        self.pool = nn.AvgPool2d(4)
        self.classifier = nn.Linear(24, 10)

    def logits(self, x):
        x = self.pool(self.block2(self.block1(self.stem(x))))
        return self.classifier(x.view(x.size(0), -1))

    forward = logits


class CancerMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))

    def logits(self, x):
        return self.layers(x)

    def forward(self, x):
        return F.softmax(self.logits(x), dim=1)


class DigitsZoo(nn.Module):
    """Many operators in one small network; made to exercise an importer, not to be a good design."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.prelu = nn.PReLU(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        # The runtimes disagree on ceil_mode together with count_include_pad, so these two are kept apart.
        self.shrink = nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
        self.coarse_pool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=True)
        self.coarse = nn.Conv2d(16, 8, 1)
        self.fine = nn.Conv2d(16, 8, 1)
        self.mix = nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.rows = nn.Conv1d(8, 12, 3, padding=1)
        self.rows_out = nn.Linear(8 * 12, 16)
        self.classifier = nn.Linear(32, 10)

    def logits(self, image):
        x = (image - 0.5) * 2.0
        x = F.pad(x, (0, 1, 0, 1), value=-1.0)
        x = F.leaky_relu(self.stem(x), 0.1)                                         # 8 x 8x8
        x = torch.cat([self.prelu(self.dilated(x)), F.hardswish(self.grouped(x))], 1)  # 16 x 8x8
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = self.shrink(x * gate)                                                   # 16 x 4x4, ragged last window
        coarse = torch.tanh(self.coarse(self.coarse_pool(x)))                       # 8 x 2x2
        coarse = F.interpolate(coarse, scale_factor=2, mode="nearest")
        x = F.relu(self.mix(torch.cat([self.fine(x), coarse], 1)))
        x = x.mean(dim=(2, 3))
        # Second path: the 8 rows are the channels of a sequence along the columns.
        r = F.relu(self.rows(image.reshape(-1, 8, 8)))
        r = torch.flatten(r.transpose(1, 2), 1)
        r = F.relu(self.rows_out(r))
        return self.classifier(torch.cat([x, r], 1))

    def forward(self, image):
        p = F.softmax(self.logits(image), dim=1)
        return p, torch.argmax(p, dim=1)


def train_torch(make, data, epochs, lr=4e-3, decay=1e-2):
    torch.manual_seed(SEED)
    model = make()
    x, y = torch.from_numpy(data[0]), torch.from_numpy(data[1])
    opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    steps = epochs * ((len(x) + 31) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            opt.zero_grad()
            F.cross_entropy(model.logits(x[rows]), y[rows], label_smoothing=0.05).backward()
            opt.step()
            schedule.step()
    return model.eval()


def export_torch(model, data, path, opset, inputs, outputs, dynamic_batch=False, keep_batchnorm=False):
    mode = torch.onnx.TrainingMode
    torch.onnx.export(
        model, torch.from_numpy(data[2][:1]), str(path), dynamo=False, opset_version=opset,
        input_names=inputs, output_names=outputs,
        # EVAL lets the exporter fold BatchNorm into Conv, PRESERVE leaves the node (the model is in eval mode already).
        training=mode.PRESERVE if keep_batchnorm else mode.EVAL, do_constant_folding=not keep_batchnorm,
        dynamic_axes={n: {0: "batch"} for n in inputs + outputs} if dynamic_batch else None)
    with torch.no_grad():
        out = model(torch.from_numpy(data[2]))
    return (out[0] if isinstance(out, tuple) else out).numpy()


# ---------------------------------------------------------------- networks: Keras

def digits_dscnn():
    """Depthwise separable blocks: stride 2 with SAME padding (0 before, 1 after), then depth multiplier 2."""
    inp = keras.Input((8, 8, 1), batch_size=None, name="image")

    def bn_relu6(x):
        return layers.ReLU(max_value=6.0)(layers.BatchNormalization(momentum=0.9)(x))

    x = bn_relu6(layers.Conv2D(12, 3, padding="same", use_bias=False)(inp))
    x = bn_relu6(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    x = bn_relu6(layers.Conv2D(24, 1, use_bias=False)(x))
    x = bn_relu6(layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x))
    x = bn_relu6(layers.Conv2D(24, 1, use_bias=False)(x))
    x = bn_relu6(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)(x))
    x = bn_relu6(layers.Conv2D(32, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inp, layers.Dense(10, activation="softmax", name="probabilities")(x))


def digits_keras():
    """The usual beginner's CNN. Flatten sees NHWC, so the exporter puts a Transpose before it."""
    inp = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(10, 3, padding="same", activation="relu")(inp)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.AveragePooling2D(3, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(24, activation="relu")(x)
    return keras.Model(inp, layers.Dense(10, activation="softmax", name="probabilities")(x))


def train_keras(make, data, epochs, lr=6e-3):
    keras.backend.clear_session()  # node names start from 1 for every network
    keras.utils.set_random_seed(SEED)
    model = make()
    steps = epochs * ((len(data[0]) + 31) // 32)
    model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(lr, steps), weight_decay=1e-2),
                  keras.losses.SparseCategoricalCrossentropy())
    model.fit(data[0], data[1], batch_size=32, epochs=epochs, verbose=0)
    return model


def export_keras(model, data, path, opset, batch):
    signature = [tf.TensorSpec((batch, 8, 8, 1), tf.float32, name="image")]
    call = tf.function(lambda image: {"probabilities": model(image, training=False)}, input_signature=signature)
    tf2onnx.convert.from_function(call, input_signature=signature, opset=opset, output_path=str(path))
    return model.predict(data[2], verbose=0)


# ---------------------------------------------------------------- quantized network

class Rows(CalibrationDataReader):
    def __init__(self, name, x):
        self.rows = iter([{name: row[None]} for row in x])

    def get_next(self):
        return next(self.rows, None)


def quantize(source, path, data, activations, weights, per_channel):
    if not source.exists():
        raise SystemExit(f"{path.name}: needs {source}; make digits_cnn first")
    with tempfile.TemporaryDirectory() as tmp:
        ready = Path(tmp) / "ready.onnx"
        quant_pre_process(str(source), str(ready))  # folds BatchNorm, infers shapes
        quantize_static(str(ready), str(path), Rows("image", data[0]), quant_format=QuantFormat.QDQ,
                        activation_type=activations, weight_type=weights, per_channel=per_channel)


# ---------------------------------------------------------------- checks and the table

def run_onnx(path, x):
    """First output for every row, one at a time. Graph rewriting is off, so that QDQ graphs are computed as written."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0] for row in x])


def cost(path, row):
    """(parameters, multiply-accumulates of Conv, Gemm and MatMul) for one row, from the shapes met when running it."""
    model = onnx.load(path)
    init = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    params = set()
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul", "BatchNormalization", "PRelu", "Add", "Mul"):
            params |= {n for n in node.input if n in init}
        elif node.op_type == "DequantizeLinear" and node.input[0] in init:
            params.add(node.input[0])
    del model.graph.output[:]
    names = {n for node in products for n in (node.input[1], node.output[0])}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in sorted(names))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: row})
    shape = {o.name: value.shape for o, value in zip(session.get_outputs(), found)}
    macs = 0
    for node in products:
        weight, out = shape[node.input[1]], shape[node.output[0]]
        channels = weight[0] if node.op_type == "Conv" else out[-1]
        macs += int(np.prod(out)) * int(np.prod(weight)) // channels
    return sum(init[n] for n in params), macs


def main():
    args = argparse.ArgumentParser(description="Train the example networks and export them to ONNX.")
    args.add_argument("--only", help="make just this network (file name without .onnx)")
    args.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder for the .onnx files")
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()

    nchw, nhwc, rows = digits("NCHW"), digits("NHWC"), cancer()

    def torch_net(make, data, epochs, opset, inputs, outputs, **export):
        return lambda path: (
            data, export_torch(train_torch(make, data, epochs), data, path, opset, inputs, outputs, **export))

    def keras_net(make, data, epochs, opset, batch):
        return lambda path: (data, export_keras(train_keras(make, data, epochs), data, path, opset, batch))

    def qdq_net(activations, weights, per_channel):
        def make(path):
            quantize(args.out / "digits_cnn.onnx", path, nchw, activations, weights, per_channel)
            return nchw, None
        return make

    torch_exporter = f"torch {torch.__version__.split('+')[0]}"
    keras_exporter = f"tf2onnx {tf2onnx.__version__}"
    quantizer = f"onnxruntime {ort.__version__} quantize_static"
    signed, unsigned = QuantType.QInt8, QuantType.QUInt8
    networks = {
        "digits_cnn": (torch_exporter, torch_net(
            DigitsCnn, nchw, 60, 17, ["image"], ["logits"], keep_batchnorm=True)),
        "digits_dscnn": (keras_exporter, keras_net(digits_dscnn, nhwc, 60, 15, batch=1)),
        "digits_keras": (keras_exporter, keras_net(digits_keras, nhwc, 40, 13, batch=None)),
        "digits_resnet": (torch_exporter, torch_net(
            DigitsResnet, nchw, 40, 13, ["image"], ["logits"], dynamic_batch=True)),
        "cancer_mlp": (torch_exporter, torch_net(
            CancerMlp, rows, 60, 15, ["features"], ["probabilities"])),
        "digits_zoo": (torch_exporter, torch_net(
            DigitsZoo, nchw, 80, 16, ["image"], ["probabilities", "class"])),
        "digits_cnn_qdq": (quantizer, qdq_net(signed, signed, True)),
        "digits_cnn_qdq_u8": (quantizer, qdq_net(unsigned, unsigned, False)),
    }
    if args.only and args.only not in networks:
        raise SystemExit(f"no network {args.only!r}; known: {', '.join(networks)}")

    print(f"{'network':18} {'exporter':36} {'bytes':>7} {'params':>7} {'MACs':>8} {'test accuracy':>16} {'max diff':>9}")
    for name, (exporter, make) in networks.items():
        if args.only not in (None, name):
            continue
        path = args.out / f"{name}.onnx"
        (_, _, x, y), expected = make(path)
        onnx.checker.check_model(str(path), full_check=True)
        got = run_onnx(path, x)
        right = int((got.argmax(axis=1) == y).sum())
        diff = None if expected is None else float(np.abs(got - expected).max())
        params, macs = cost(path, x[:1])
        accuracy = f"{100 * right / len(y):.2f}% {right}/{len(y)}"
        print(f"{name:18} {exporter:36} {path.stat().st_size:7} {params:7} {macs:8} {accuracy:>16} "
              f"{'-' if diff is None else f'{diff:.1e}':>9}", flush=True)
        if diff is not None and diff > TOLERANCE:
            raise SystemExit(f"{name}: onnxruntime differs from the framework by {diff:.1e}")


if __name__ == "__main__":
    main()
