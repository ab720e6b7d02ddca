"""Networks, caches, sampling: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

SAMPLING = (UNIT + "models/test_sampling.py",)
POINTER = (UNIT + "models/test_pointer.py",)
RENAMING = ("tests/property/test_renaming.py",)

MUTANTS: list[Mutant] = [
    *of(
        "models/sampling.py",
        SAMPLING,
        (
            "log-probs before the nucleus",
            "            log_p = decision_logprobs(logits, masks, temperature)\n",
            "",
        ),
        ("a nucleus one token short", "before < top_p", "ordered + before < top_p"),
        ("greedy takes the least likely", "log_p.argmax(dim=1)", "log_p.argmin(dim=1)"),
    ),
    *of(
        "models/network.py",
        POINTER,
        ("what comes later is copied", "<= position[:, None]", ">= position[:, None]"),
        ("one place too many is copied", "<= position[:, None]", "<= position[:, None] + 1"),
    ),
    *of(
        "models/pointer.py",
        POINTER,
        ("smear without its shift", "self.mix(previous)", "self.mix(embedded)"),
        ("the pointer's scale", "keys.shape[-1] ** 0.5", "keys.shape[-1]"),
    ),
    *of(
        "models/row_cache.py",
        (*POINTER, UNIT + "models/test_cache.py", UNIT + "rollout/test_shared_cache.py"),
        (
            "the token before is lost",
            "for token in (row.last, *piece[:-1])",
            "for token in (NO_TOKEN, *piece[:-1])",
        ),
        ("positions start anew", "range(row.length, row.length + len(piece))", "range(len(piece))"),
        (
            "two transcripts share a row",
            "self._rows[row].copy() if row in taken",
            "self._rows[row] if row in taken",
        ),
        ("a row is not emptied", "self._rows[row] = self._empty()", "pass"),
        (
            "a copy loses its last token",
            "self.copies.copy(), self.length, self.last)",
            "self.copies.copy(), self.length)",
        ),
        ("a copy loses what may be copied", "self.copies.copy(), self.length", "Room(), self.length"),
        ("copies are seen beyond a transcript", "< lengths[:, None]", "< lengths.max()"),
        ("the first of a piece is read, not the last", ".cumsum(0) - 1", ".cumsum(0) * 0"),
        ("growing forgets", "if held is not None:", "if False:"),
    ),
    *of(
        "models/cache.py",
        (*POINTER, UNIT + "models/test_cache.py"),
        ("keys of dropped rows stay", "self._copies.batch_select_indices(index)", "pass"),
        ("last tokens of dropped rows stay", "self._last = self._last[index]", "pass"),
        ("a new segment is smeared with the old", "self._last[row] = NO_TOKEN", "pass"),
        ("keys are not compacted", "(*self._cache.layers, self._copies)", "(*self._cache.layers,)"),
    ),
    *of(
        "models/renaming.py",
        RENAMING,
        ("masks keep their names", "np.sort(self.names[mask.ids])", "mask.ids"),
        ("replies are read under their new names", "decode(self._renaming.original(ids))", "decode(ids)"),
    ),
]
