"""Sampling with vLLM: token ids in, token ids and their processed log-probs out.

A request is a reply: the transcript so far, of which the prefix cache has most, and the masks of what may be
said. Each episode asks for its next reply as soon as it has read the page, whatever the others do. The engine
has processes of its own; it gets the weights through a folder in shared memory whenever they have changed,
and on a GPU gives its memory back while nothing is played.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from webshop_rl.errors import UserError
from webshop_rl.models.agent import Agent
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.engines.guard import guard
from webshop_rl.rollout.engines.masks import Unmasked, plain_masks, push_reply
from webshop_rl.rollout.engines.weights import SHARED_MEMORY, Stamp, stamp, write_config, write_weights
from webshop_rl.rollout.episode import Episode
from webshop_rl.rollout.sampler import Batch

_WHERE: Final = "rollout.engine=vllm"
# Unless the user's environment says otherwise.
_ENVIRONMENT: Final = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the masks are a processor of the first
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # runs of a sweep share the cores; hardware.threads counts
}
_CPU_ENVIRONMENT: Final = {"TORCHDYNAMO_DISABLE": "1"}  # compiling takes a minute and saves none here
# Of the memory, what must be free at the start; the cache has a size of its own, so no more is taken for it.
_GPU_SHARE: Final = 0.05
_WATCH_S: Final = 0.5
_BLOCK_TOKENS: Final = 128  # a transcript fills whole blocks of the cache: of 128 on a CPU, 16 on a GPU


class VllmSampler:
    """Samples with vLLM, started at the first batch.

    Args:
        max_episodes: most episodes in a batch.
    """

    exact: ClassVar[bool] = False

    def __init__(self, max_episodes: int) -> None:
        self._max_episodes = max_episodes
        self._engine: Any = None
        self._folder = Path()
        self._handed: Stamp | None = None  # the weights that the engine has
        self._asleep = False
        self._guard: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def playing(
        self, agent: Agent, episodes: Sequence[Episode], *, temperature: float, top_p: float
    ) -> Iterator[Batch]:
        """Within: the engine is awake, with the agent's weights.

        Raises: UserError if it does not start, or stops.
        """
        if top_p < 1:
            raise ValueError("the learner cannot know the nucleus that an engine sampled from")
        with _one_line():
            self._bring(agent)
        batch = _VllmBatch(self._engine, agent, episodes, temperature)
        try:
            yield batch
        finally:
            batch.abandon()

    def rest(self) -> None:
        """Give the GPU's memory to the learner; on a CPU the engine cannot."""
        if self._engine is not None and self._engine.vllm_config.model_config.enable_sleep_mode:
            self._engine.sleep(level=2)  # the weights are handed over anew in any case
            self._asleep = True
            self._handed = None

    def close(self) -> None:
        """Stop the engine's processes."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.engine_core.shutdown()
            if self._guard is not None and self._guard.stdin is not None:
                self._guard.stdin.close()
                self._guard.wait()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _bring(self, agent: Agent) -> None:
        """Have the engine awake with the agent's weights."""
        now = stamp(agent.network)
        if self._engine is None:
            self._start(agent)
        elif self._handed != now:
            write_weights(agent.network, self._folder)
            if self._asleep:
                self._engine.wake_up(["weights"])
            self._engine.collective_rpc("reload_weights")
            if self._asleep:
                self._engine.wake_up(["kv_cache"])
            # What was read with other weights must not be taken for what these would have read.
            if not self._engine.reset_prefix_cache():
                raise RuntimeError("the prefix cache of the former weights is still in use")
        self._handed = now
        self._asleep = False

    def _start(self, agent: Agent) -> None:
        network = agent.network
        on_cpu = network.device.type == "cpu"
        for name, value in {**_ENVIRONMENT, **(_CPU_ENVIRONMENT if on_cpu else {})}.items():
            os.environ.setdefault(name, value)
        place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="webshop-rl-engine-", dir=place))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        write_config(network, self._folder)
        write_weights(network, self._folder)
        from vllm.engine.arg_utils import EngineArgs  # takes seconds
        from vllm.v1.engine.llm_engine import LLMEngine

        self._engine = LLMEngine.from_engine_args(
            EngineArgs(
                model=str(self._folder),
                skip_tokenizer_init=True,
                dtype=str(next(network.causal_lm.parameters()).dtype).removeprefix("torch."),
                max_model_len=agent.context_tokens,
                max_num_seqs=self._max_episodes,
                kv_cache_memory_bytes=kv_cache_bytes(network, agent.context_tokens, self._max_episodes),
                gpu_memory_utilization=_GPU_SHARE,
                enable_prefix_caching=True,
                enforce_eager=on_cpu,
                enable_sleep_mode=not on_cpu,
                logprobs_mode="processed_logprobs",
                logits_processors=["webshop_rl.rollout.engines.vllm_masks:ReplyMasks"],
                async_scheduling=False,  # a mask follows from the token before it
                disable_log_stats=True,
                use_tqdm_on_load=False,
            )
        )
        manager = getattr(getattr(self._engine.engine_core, "resources", None), "engine_manager", None)
        pids = [] if manager is None else [process.pid for process in manager.processes]
        self._guard = guard(self._folder, pids)
        threading.Thread(target=_wake_at_death, args=(self._engine.engine_core,), daemon=True).start()


def kv_cache_bytes(network: PolicyNetwork, context_tokens: int, max_episodes: int) -> int:
    """Memory of the keys and values of a batch whose transcripts are all as long as they may be."""
    config = network.causal_lm.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    element = next(network.causal_lm.parameters()).element_size()
    per_token: int = 2 * int(config.num_hidden_layers) * int(heads) * int(head_dim) * element
    blocks = -(-context_tokens // _BLOCK_TOKENS) + 1
    return per_token * blocks * _BLOCK_TOKENS * (max_episodes + 1)


def _wake_at_death(client: Any) -> None:
    """Have whoever waits for the engine's process raise once it is gone; vLLM's client would wait for ever.

    Args:
        client: of the engine; without a process of its own there is nothing to watch.
    """
    if not hasattr(client, "outputs_queue"):
        return
    from vllm.v1.engine.exceptions import EngineDeadError

    while not client.resources.engine_dead:
        time.sleep(_WATCH_S)
    client.outputs_queue.put_nowait(EngineDeadError())
    for future in list(client.utility_results.values()):
        if not future.done():
            future.set_exception(EngineDeadError())


class _VllmBatch:
    """Episodes with a request each."""

    def __init__(self, engine: Any, agent: Agent, episodes: Sequence[Episode], temperature: float) -> None:
        self._engine = engine
        self._end = agent.codec.end
        self._vocab_size = agent.network.vocab_size
        self._temperature = temperature
        self._asked: dict[str, tuple[Episode, Any]] = {}
        self._num_asked = 0
        with _one_line():
            for episode in episodes:
                if not episode.finished:
                    self._ask(episode)

    def advance(self) -> int:
        """Wait for one reply at least."""
        with _one_line():
            finished: list[Any] = []
            while not finished:
                finished = [output for output in self._engine.step() if output.finished]
            return sum(self._take(output) for output in finished)

    def abandon(self) -> None:
        """Give up what was asked for and has not come."""
        if self._asked:
            with contextlib.suppress(Exception):  # of a dead engine; the batch is given up for that
                self._engine.abort_request(list(self._asked))
        self._asked = {}

    def _ask(self, episode: Episode) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        from webshop_rl.rollout.engines.vllm_masks import EXTRA_ARG

        ahead = episode.ahead()
        params = SamplingParams(
            temperature=self._temperature,
            seed=int(episode.uniform() * 2**31),  # of the episode's own stream, as a draw would be
            max_tokens=ahead.max_tokens,
            stop_token_ids=[self._end],
            logprobs=0,  # of the sampled token alone
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={EXTRA_ARG: plain_masks(ahead, self._vocab_size)},
        )
        self._num_asked += 1
        name = f"{id(self)}-{self._num_asked}"
        episode.pending, episode.restarted = [], False  # an engine is given all of it each time
        self._engine.add_request(name, {"prompt_token_ids": list(episode.transcript)}, params)
        self._asked[name] = episode, ahead

    def _take(self, output: Any) -> int:
        episode, ahead = self._asked.pop(output.request_id)
        (said,) = output.outputs
        tokens = list(said.token_ids)
        logprobs = [found[token].logprob for token, found in zip(tokens, said.logprobs, strict=True)]
        num_decisions = push_reply(episode, ahead, tokens, logprobs)
        if not episode.finished:
            self._ask(episode)
        return num_decisions


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """What goes wrong in vLLM, as one line."""
    try:
        yield
    except (UserError, Unmasked):
        raise
    except Exception as error:
        if type(error).__name__ == "EngineDeadError":
            raise UserError(
                "vLLM's process is gone: it was killed, or ran out of memory",
                where=_WHERE,
                remedy="retry=true resumes; rollout.batch_size and model.context_tokens decide its memory",
            ) from error
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"vLLM failed: {type(error).__name__}: {said}", where=_WHERE, remedy="rollout.engine=native"
        ) from error
