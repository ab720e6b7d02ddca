"""What vLLM loads into its worker: a logits processor that applies the masks of each request."""

from __future__ import annotations

from typing import Any, Final

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from webshop_rl.rollout.engines.masks import FollowedMasks

EXTRA_ARG: Final = "webshop_rl_masks"  # in SamplingParams.extra_args


class ReplyMasks(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM is no dependency of the type check
    """Masks by masks.FollowedMasks; requests without masks are left alone."""

    def is_argmax_invariant(self) -> bool:
        """A mask changes what is likeliest."""
        return False

    def new_req_logits_processor(self, params: Any) -> FollowedMasks | None:
        """The masks of a request."""
        plain = (params.extra_args or {}).get(EXTRA_ARG)
        return None if plain is None else FollowedMasks(plain)
