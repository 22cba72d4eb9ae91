"""Probes of a daemon against PyTorch's double backward in float64, vector by vector: what the probe
gives away is put into PyTorch, whose answer is compared.

  spectrum   The gradient and the product of the Hessian with the run's start to 2e-2 of their
             largest element; the top five eigenvalues to 1e-2 of PyTorch's vᵀHv, and ‖Hv − λv‖ to
             1e-2 of the largest. Mostly they agree to 1e-6, but where single precision has the
             input of one ReLU on the other side of 0, a gradient moves by up to a percent
             (PyTorch's own in float32 does). tests/golden holds products to 1e-4 and closer.
  landscape  Each point's loss to 1e-3 at the weights that the given directions lead to, and the
             ends of a line to another checkpoint.
"""

import torch
from torch.nn import functional as F

from checkpoint import read_safetensors
from compare import fetch, load, require, same

GRADIENT, EIGENVALUE, LOSS = 2e-2, 1e-2, 1e-3
TOP = 5
WAIT_SECONDS = 300


def ask(client, job, **probe):
    """The probe once it has succeeded."""
    url = client.request("POST", f"/v1/jobs/{job}/probes", probe)["url"]
    return client.wait_for(url, WAIT_SECONDS)


def table(client, shown, name):
    return client.request("GET", f"{shown['url']}/tables/{name}?limit=1000")["rows"]


def vectors_of(client, shown, network):
    """Name → what the probe gave of that name, in the order of the parameters, in float64."""
    tensors, _ = read_safetensors(client.download(shown["vectors"])[0])
    names = [name for name, _ in network.named_parameters()]
    vectors = {}
    for vector in dict.fromkeys(name.partition("/")[0] for name in tensors):
        vectors[vector] = [torch.from_numpy(tensors[f"{vector}/{name}"]).double()
                           for name in names]
    return vectors


def trained(run, client, job, about):
    """The network of a checkpoint as a probe has it: evaluation mode, exact numbers."""
    network = run.network(torch.float32)
    load(network, fetch(client, job, about))
    return network.double().eval()


def loss_of(network, digits):
    return F.cross_entropy(network(digits.train_images), digits.train_labels)


def dot(a, b):
    return sum(float((x * y).sum()) for x, y in zip(a, b))


def flat(parts):
    return torch.cat([part.reshape(-1) for part in parts]).detach().numpy()


class Hessian:
    """Products with the Hessian of the mean loss over the training samples."""

    def __init__(self, network, digits):
        self.params = list(network.parameters())
        self.gradient = torch.autograd.grad(loss_of(network, digits), self.params,
                                            create_graph=True)

    def times(self, vector):
        return torch.autograd.grad(self.gradient, self.params, vector, retain_graph=True)


def check_spectrum(run, client, job):
    shown = ask(client, job, kind="spectrum", samples=0, batch_size=77, runs=1, steps=80,
                top_k=TOP, trace_draws=2, start="normal", save_vectors=True)
    network = trained(run, client, job, client.checkpoints(job)[-1])
    hessian = Hessian(network, run.digits())
    vectors, rows = vectors_of(client, shown, network), table(client, shown, "eigenvalues")
    same("gradient", flat(vectors["gradient"]), flat(hessian.gradient), GRADIENT)
    same("product", flat(vectors["product"]), flat(hessian.times(vectors["start"])),
         GRADIENT)
    require(len(rows) == TOP, f"{len(rows)} eigenvalues")
    for row in rows:
        vector = vectors[f"eigenvector{row['number']}"]
        product, what = hessian.times(vector), f"eigenvalue {row['number']}"
        same(what, row["value"], dot(vector, product) / dot(vector, vector), EIGENVALUE)
        rest = [y - row["value"] * x for x, y in zip(vector, product)]
        require(dot(rest, rest) ** 0.5 <= EIGENVALUE * rows[0]["value"],
                f"{what}: ‖Hv − λv‖ is {dot(rest, rest) ** 0.5:.3g}")


def moved(network, steps):
    """A loss is asked for at w + Σ step·direction: a copy of the weights, to be put back."""
    kept = [param.detach().clone() for param in network.parameters()]
    with torch.no_grad():
        for step, direction in steps:
            for param, part in zip(network.parameters(), direction):
                param += step * part
    return kept


def check_landscape(run, client, job):
    checkpoints, digits = client.checkpoints(job), run.digits()
    network = trained(run, client, job, checkpoints[-1])
    shown = ask(client, job, kind="landscape", samples=0, preset="goldstein", save_vectors=True,
                x={"points": 3, "from": -0.5, "to": 0.5},
                y={"direction": "eigenvector", "points": 3})
    vectors = vectors_of(client, shown, network)
    for row in table(client, shown, "points"):
        kept = moved(network, ((row["x"], vectors["x"]), (row["y"], vectors["y"])))
        with torch.no_grad():
            same(f"the loss at {row['x']}, {row['y']}", row["loss"], loss_of(network, digits), LOSS)
            for param, value in zip(network.parameters(), kept):
                param.copy_(value)
    shown = ask(client, job, kind="landscape", samples=0, other={"update": checkpoints[0]["update"]},
                x={"direction": "line", "from": 0, "points": 3})
    ends = table(client, shown, "points")
    for row, about in ((ends[0], checkpoints[-1]), (ends[-1], checkpoints[0])):
        with torch.no_grad():
            loss = loss_of(trained(run, client, job, about), digits)
        same(f"the loss at {row['x']} of the line", row["loss"], loss, LOSS)
