"""A network whose weights are shared out over ranks, and the ways between whole and shard.

Only the optimiser step works on shards. Sampling cannot: each rank decodes as many tokens as its
episodes take, and every call of a sharded network waits for all ranks. So the network that samples
stays whole in every rank, and gets the new weights after each step.

Shards are torch's fully_shard (FSDP2), as accelerate applies it too; done here unit by unit because of a
critic (float32 beside a narrower model) and so that no second whole copy is ever in memory.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from webshop_rl.distributed.master_weights import COPIES, MasterAdamW
from webshop_rl.errors import UserError
from webshop_rl.models.network import PolicyNetwork


def sharded_copy(network: PolicyNetwork, mesh: DeviceMesh) -> PolicyNetwork:
    """A copy for learning, each rank holding one part in `mesh.size()` of each parameter (rows).

    Units, whose weights are whole only while they compute: each transformer block, the value head, the
    rest. Gradients are averaged over the ranks in float32.

    Args:
        network: whole, and the same in every rank.
        mesh: of one dimension.
    Raises: UserError if two units share a parameter (embedding and output layer are one unit).
    """
    # The copy is made without memory, then filled and sharded unit by unit.
    empty = {id(p): _empty_like(p) for p in network.parameters()}
    source = {id(empty[id(p)]): p for p in network.parameters()}
    twin = copy.deepcopy(network, dict(empty))
    # The critic's readings are a view; nothing writes into them.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view", category=UserWarning)
    for unit in list(_units(twin)):
        _fill(unit, source)
        fully_shard(unit, mesh=mesh, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32))
    return twin


def _empty_like(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)


def _units(network: PolicyNetwork) -> Iterator[nn.Module]:
    """Blocks (the classes that the model says must not be split), value head, and what is left."""
    blocks = set(getattr(network.causal_lm, "_no_split_modules", None) or [])
    yield from (module for module in network.modules() if type(module).__name__ in blocks)
    if network.value_head is not None:
        yield network.value_head
    yield network


def _fill(unit: nn.Module, source: dict[int, nn.Parameter]) -> None:
    """Give the unit's empty parameters their values; a shared one stays shared."""
    made: dict[int, nn.Parameter] = {}
    for module in unit.modules():
        for name, parameter in module._parameters.items():
            if parameter is None or not parameter.is_meta:
                continue
            if id(parameter) not in made:
                if id(parameter) not in source:
                    raise UserError(
                        f"two blocks of this model share a {name}",
                        where="hardware.strategy",
                        remedy="use ddp",
                    )
                whole = source.pop(id(parameter))
                copied = whole.detach().clone()
                made[id(parameter)] = nn.Parameter(copied, requires_grad=whole.requires_grad)
            module._parameters[name] = made[id(parameter)]


@torch.no_grad()
def publish(sharded: nn.Module, network: nn.Module) -> None:
    """Trained weights from the shards into the whole network; every rank must call it."""
    for shard, weight in _pairs(sharded, network):
        weight.copy_(shard.full_tensor())


@torch.no_grad()
def adopt(sharded: nn.Module, network: nn.Module) -> None:
    """Trained weights from the whole network into the shards; no rank waits for another."""
    for shard, weight in _pairs(sharded, network):
        _part(shard, weight, into=shard)


def _pairs(sharded: nn.Module, network: nn.Module) -> Iterator[tuple[DTensor, nn.Parameter]]:
    for shard, weight in zip(sharded.parameters(), network.parameters(), strict=True):
        if shard.requires_grad:
            assert isinstance(shard, DTensor)
            yield shard, weight


def grad_norm_squares(sharded: nn.Module) -> float:
    """Sum of squares of this rank's part of the gradient."""
    grads = [p.grad.to_local() for p in sharded.parameters() if isinstance(p.grad, DTensor)]
    norms = [torch.linalg.vector_norm(grad, dtype=torch.float32) for grad in grads]
    return float(torch.stack(norms).double().square().sum()) if norms else 0.0


@torch.no_grad()
def scale_grads(sharded: nn.Module, factor: float) -> None:
    """Multiply this rank's part of the gradient."""
    for parameter in sharded.parameters():
        if isinstance(parameter.grad, DTensor):
            parameter.grad.to_local().mul_(factor)


def whole_state(state: Any, *, keep: bool) -> Any:
    """An optimiser's state with whole tensors, on the CPU; every rank must call it.

    Args:
        state: as `state_dict` gives it on shards.
        keep: whether this rank wants it; the others help, one tensor at a time.
    """
    if isinstance(state, DTensor):
        whole = state.full_tensor()
        return whole.cpu() if keep else None
    if isinstance(state, dict):
        return {name: whole_state(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list):
        return [whole_state(value, keep=keep) for value in state]
    return state


def sharded_state(state: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """This rank's shards of a whole optimiser state; none waits for another.

    Args:
        state: as `state_dict` gives it to a single rank.
        optimiser: on shards; nothing in it is changed.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    of_parameters = {
        index: {name: _shard(parameters[index], value) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    found = {**state, "state": of_parameters}
    if isinstance(optimiser, MasterAdamW):
        found[COPIES] = [_shard(p, v) for p, v in zip(optimiser.copies, state[COPIES], strict=True)]
    return found


def _shard(like: Tensor, value: Any) -> Any:
    """The shard of a value that has a parameter's shape; any other value as it is."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return _part(like, value, into=torch.empty_like(like, dtype=value.dtype, requires_grad=False))


def _part(like: DTensor, whole: Tensor, *, into: Any) -> Any:
    """Copy this rank's rows of a whole tensor; fully_shard deals them out as chunk does."""
    mesh = like.device_mesh
    chunks = torch.chunk(whole, mesh.size(), dim=0)
    rank = mesh.get_local_rank()
    local = into.to_local()
    local.copy_(chunks[rank] if rank < len(chunks) else whole[:0])
    return into
