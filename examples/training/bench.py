"""Samples per second of one training, elastiq and PyTorch in turns; started by `run`."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent
NETWORK = HERE.parent / "mnist.toml"
SAMPLES, VALIDATION = 6400, 64  # noise: time does not depend on values


def with_elastiq(program, cache, epochs, batch, threads):
    command = [program, "train", NETWORK, "--data", cache / "train.npz", "--val", cache / "val.npz"]
    command += ["--batch", batch, "--epochs", epochs, "--schedule", "constant", "-o", cache / "out.onnx", "--json"]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    ran = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"training: elastiq: {ran.stderr.strip()}")
    return json.loads(ran.stdout)["samples_per_s"]


def with_torch(x, y, epochs, batch):
    """The layers of mnist.toml; data, loss, optimizer and counting of correct samples as `elastiq train` has them."""
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 34), nn.ReLU(), nn.Linear(34, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    begun = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for picks in order.split(batch):
            optimizer.zero_grad()
            out = net(x[picks])
            loss = nn.functional.cross_entropy(out, y[picks])
            loss.backward()
            optimizer.step()
            loss.item(), (out.argmax(1) == y[picks]).sum().item()
    return epochs * len(x) / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="examples/training/run")
    parser.add_argument("--rounds", type=int, default=7, help="times that each tool trains")
    parser.add_argument("--epochs", type=int, default=2, help="passes over 6400 samples per round")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--elastiq", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    x = rng.random((SAMPLES, 1, 28, 28), dtype=np.float32)
    y = rng.integers(0, 10, SAMPLES)
    np.savez(args.cache / "train.npz", x=x, y=y)
    np.savez(args.cache / "val.npz", x=x[:VALIDATION], y=y[:VALIDATION])
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    with_torch(x[: 4 * args.batch], y[: 4 * args.batch], 1, args.batch)
    load = os.getloadavg()[0]
    rates = {"elastiq": [], f"PyTorch {torch.__version__.split('+')[0]}": []}
    ours, theirs = rates
    for _ in range(args.rounds):
        rates[ours].append(with_elastiq(args.elastiq, args.cache, args.epochs, args.batch, args.threads))
        rates[theirs].append(with_torch(x, y, args.epochs, args.batch))
    print(f"{NETWORK.name}, batch {args.batch}, {args.threads} threads, forward, backward and Adam, samples per second")
    print(f"median and quartiles of {args.rounds} rounds; {platform.machine()}, load {load:.1f} at the start\n")
    print(f"{'tool':14} {'median':>8} {'quartiles':>18}")
    for name, list_ in rates.items():
        low, middle, high = statistics.quantiles(list_, n=4, method="inclusive")
        print(f"{name:14} {middle:8,.0f} {f'{low:,.0f} to {high:,.0f}':>18}")


main()
