"""The discrete optimiser against PyTorch: time of one step of one lane, and the same numbers."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jepa_sim as js
from benchmarks.flows import encoder_product, random_flows
from benchmarks.report import NOT_INSTALLED, Row

LANES, D, DEPTH, STEPS, RATE = 64, 16, 2, 500, 0.05


def by_torch(flows, lanes, steps):
    """(a plain loop of autograd over one lane, torch.func vmapped over lanes), each () → W̄."""
    import torch

    data = tuple(torch.as_tensor(a) for a in (flows.xx, flows.yx))

    def loss(factors, xx, yx):  # ½ E‖V W̄ x − sg(W̄ y)‖² up to what V and W̄ do not touch
        w = encoder_product(factors)
        online = factors[-1] @ w
        return 0.5 * torch.sum((online @ xx) * online) - torch.sum(online * (w.detach() @ yx))

    def loop():
        found = []
        for i in range(lanes):
            xx, yx = (a[i] for a in data)
            factors = [torch.tensor(f[i], requires_grad=True) for f in flows.factors]
            optimizer = torch.optim.SGD(factors, lr=RATE)
            for _ in range(steps):
                optimizer.zero_grad()
                loss(factors, xx, yx).backward()
                optimizer.step()
            found.append(encoder_product(factors).detach().numpy())
        return np.stack(found)

    slope = torch.func.vmap(torch.func.grad(loss))

    def vmapped():
        factors = tuple(torch.as_tensor(f[:lanes]) for f in flows.factors)
        with torch.no_grad():
            for _ in range(steps):
                moved = slope(factors, *(a[:lanes] for a in data))
                factors = tuple(f - RATE * m for f, m in zip(factors, moved, strict=True))
        return encoder_product(factors).numpy()

    return loop, vmapped


def test_descent(race, record):
    flows = random_flows(LANES, D, 0.1, DEPTH)

    @jax.jit
    def run(xx, yx):
        def one(xx, yx):
            def encoder(t, state, problem):
                return encoder_product((*state.encoder, None))

            moments = js.Moments(xx, yx)
            problem = js.Problem(moments, js.JEPA(), js.DeepLinear(DEPTH), js.Balanced(0.1))
            times = jnp.asarray([STEPS * RATE])
            found = js.simulate(problem, times, js.Descent(optax.sgd, RATE), observables=(encoder,))
            return found["encoder"][-1]

        return jax.vmap(one)(xx, yx)

    ours = functools.partial(run, flows.xx, flows.yx)
    peers, errors, lanes = {}, {}, {"PyTorch loop": 2, "torch.func vmap": LANES}
    if importlib.util.find_spec("torch"):
        loop, _ = by_torch(flows, 2, STEPS)
        _, vmapped = by_torch(flows, LANES, STEPS)
        peers = {"PyTorch loop": loop, "torch.func vmap": vmapped}
        expected = np.asarray(ours())
        for name, peer in peers.items():
            errors[name] = float(np.max(np.abs(peer() - expected[: lanes[name]])))
            assert errors[name] < 1e-6
    seconds = race(ours, peers)
    per_step = {name: 1e6 * s / STEPS / lanes.get(name, LANES) for name, s in seconds.items()}
    mine = per_step.pop("ours")
    fastest = min(per_step.values(), default=None)
    record(
        Row(
            f"a step of Descent, {LANES} lanes, d={D}, L={DEPTH}",
            mine,
            "µs per lane",
            per_step or dict.fromkeys(lanes, NOT_INSTALLED),
            errors,
            ratio=fastest and mine / fastest,
            limit=1,
            goal="a step of Descent in that of the fastest PyTorch way, with the same numbers",
            note="errors are the largest difference of an entry of W̄ from ours",
        )
    )
