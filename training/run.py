"""What every training shares: optimizers, the moving average, checkpoints, the log.

In:  a model, a folder, seconds.
Out: FOLDER/last.pt, FOLDER/status.txt. A `Run` of the same folder goes on where the last one was saved.

Several processes may share a run, each with scenes of its own: start the same command in each with RANK 0, 1, ..., WORLD_SIZE,
MASTER_ADDR and MASTER_PORT set, as torchrun does. They average their gradients; the first one evaluates and saves.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import torch
import torch.distributed as together
from safetensors.torch import load_file

# CPUs without bfloat16 instructions emulate it at a tenth of the speed of float32.
FAST_BF16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
EMA = 0.996
RANK, WORLD_SIZE = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
SAVE_EVERY = 150  # seconds
# Parts of the names of matrices that AdamW trains: tables and heads, whose rows are not mixed with each other.
ROWS_APART = ("embed", "shared", "lm_head", "relative_attention_bias", "facts.", "patch_head.", "_head")


def compute_type(device: str) -> torch.dtype:
    return torch.bfloat16 if device != "cpu" or FAST_BF16 else torch.float32


def autocast(device: str):
    return torch.autocast(device, torch.bfloat16, enabled=compute_type(device) == torch.bfloat16)


def orthogonalize(updates):
    """Newton-Schulz iteration on a batch of matrices (Jordan et al., Muon, 2024)."""
    x = updates.to(compute_type(updates.device.type))
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if tall else x


def shared_orthogonalize(updates):
    """`orthogonalize` with the matrices shared out among the processes of a run."""
    if not together.is_initialized():
        return orthogonalize(updates)
    out, own = torch.zeros_like(updates), slice(together.get_rank(), None, together.get_world_size())
    if len(out[own]):
        out[own] = orthogonalize(updates[own]).to(out.dtype)
    together.all_reduce(out)
    return out


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonal updates for matrices, all of one shape at a time, scaled to AdamW's size (Liu et al., 2025)."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                updates = []
                for p in params:
                    momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    momentum.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(momentum, group["momentum"]))
                for p, update in zip(params, shared_orthogonalize(torch.stack(updates))):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.to(p.dtype), alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)


def load_folder(model, folder: Path, training_only: tuple[str, ...]):
    """Weights of a checkpoint folder, which has none whose names begin with `training_only`."""
    weights = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith(training_only) for name in missing), (missing, unexpected)


def optimizers(model, rate, matrix_rate):
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrix = lambda name, p: p.ndim == 2 and not any(part in name for part in ROWS_APART)
    matrices = [p for name, p in trained if matrix(name, p)]
    others = [p for name, p in trained if not matrix(name, p)]
    return [Muon(matrices, matrix_rate), torch.optim.AdamW(others, rate, betas=(0.9, 0.98), weight_decay=0.0)]


class Run:
    """One training: `model` is trained, `average` is its moving average, which is exported."""

    def __init__(self, folder: Path, model, average, rate: float, seed: int, minutes: float, facts: dict | None = None, matrix_rate: float | None = None, ema=EMA):
        """`facts` are saved beside the weights, for export.py; `matrix_rate` is the learning rate of Muon, `rate` where absent."""
        folder.mkdir(parents=True, exist_ok=True)
        self.world = WORLD_SIZE
        if self.world > 1 and not together.is_initialized():
            together.init_process_group("gloo")
        self.is_first = RANK == 0
        self.folder, self.model, self.average, self.total, self.ema = folder, model, average.eval(), minutes * 60, ema
        self.rates = [matrix_rate or rate, rate]
        self.average.load_state_dict(model.state_dict())
        self.facts = facts or {}
        self.tools = optimizers(model, rate, self.rates[0])
        self.spent, self.step, self.last = 0.0, 0, folder / "last.pt"
        self.resumed = self.last.exists()
        if self.resumed:
            saved = torch.load(self.last, map_location=next(model.parameters()).device, weights_only=False)
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            for tool, state in zip(self.tools, saved["tools"]):
                tool.load_state_dict(state)
            self.spent, self.step = saved["spent"], saved["step"]
        self.saved_at = self.spent
        own_seed = seed * 7919 + self.step + 104_729 * RANK
        self.generator = random.Random(own_seed)
        torch.manual_seed(own_seed)
        self.losses, self.mark, self.scenes = {}, time.time(), 0
        self.began = time.time()
        self.say(f"{sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6:.2f} M trained parameters, {minutes} minutes, from minute {self.spent / 60:.1f}")

    def begin_again(self):
        """Takes the present weights, those of the first process, as the start of the moving average, and saves them."""
        if self.world > 1:
            for p in self.model.parameters():
                together.broadcast(p.data, 0)
        self.average.load_state_dict(self.model.state_dict())
        self.tick()
        self.save()

    @property
    def progress(self) -> float:
        return min(1.0, self.spent / self.total)

    @property
    def done(self) -> bool:
        return self.spent >= self.total

    def update(self, loss, parts: dict, scenes: int, rate: float):
        """One step; `rate` is a factor on the learning rate, `parts` are losses to print. The time since the last call counts as spent."""
        loss.backward()
        self.tick()
        if self.world > 1:
            self.average_gradients()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        for tool, full in zip(self.tools, self.rates):
            for group in tool.param_groups:
                group["lr"] = full * rate
            tool.step()
            tool.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - min(self.ema, 1 - 1 / (self.step + 1)))
        self.step += 1
        self.scenes += scenes * self.world
        for key, value in parts.items():
            self.losses.setdefault(key, []).append(value.item())

    def average_gradients(self):
        """Means over the processes, which also agree on the time spent."""
        params = [p for p in self.model.parameters() if p.requires_grad]
        for p in params:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([torch.tensor([self.spent]), *(p.grad.flatten() for p in params)])
        together.all_reduce(flat)
        flat /= self.world
        self.spent = flat[0].item()
        torch._foreach_copy_([p.grad for p in params], [part.view_as(p) for p, part in zip(params, flat[1:].split([p.numel() for p in params]))])

    def tick(self):
        now = time.time()
        self.spent += now - self.began
        self.began = now

    def report(self, note=""):
        """Prints the means of the losses since the last report."""
        seconds = time.time() - self.mark
        means = "  ".join(f"{key} {sum(values) / len(values):.3f}" for key, values in self.losses.items())
        self.say(f"{self.spent / 60:6.1f} min  {self.progress:4.0%}  step {self.step}  {note}{means}  {self.scenes / seconds:.0f} scenes/s")
        self.losses, self.mark, self.scenes = {}, time.time(), 0

    def say(self, line: str):
        if not self.is_first:
            return
        print(line, flush=True)
        with (self.folder / "status.txt").open("a") as file:
            file.write(line + "\n")

    def save(self):
        self.saved_at = self.spent
        if not self.is_first:
            return
        rest = {"tools": [tool.state_dict() for tool in self.tools], "spent": self.spent, "step": self.step}
        torch.save({"model": self.model.state_dict(), "average": self.average.state_dict(), **rest, **self.facts}, self.last.with_suffix(".tmp"))
        os.replace(self.last.with_suffix(".tmp"), self.last)

    def save_sometimes(self):
        if self.spent - self.saved_at > SAVE_EVERY or self.done:
            self.save()
