"""Shops, goals and their stages: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

LADDER = (UNIT + "envs/ladder/test_generator.py", UNIT + "envs/ladder/test_stages.py")
DIFFICULTY = (UNIT + "envs/ladder/test_difficulty.py",)

MUTANTS: list[Mutant] = [
    *of(
        "envs/types.py",
        (UNIT + "rollout/test_states.py",),
        ("choices are no part of a page", "tuple(sorted(page.chosen.items())), ", ""),
        ("the order of choices is", "tuple(sorted(page.chosen.items()))", "tuple(page.chosen.items())"),
        ("every results page is one", "page.kind, page.text,", "page.kind,"),
    ),
    *of(
        "envs/ladder/generator.py",
        LADDER,
        (
            "two products of a kind alike",
            "in close if frozenset(each) not in taken",
            "in close",
        ),
        ("held-out frames are trained on", 'home == "train" and frame_home != "train"', "False"),
        ("held-out products in the first stage", 'split == "instruction" and home != "train"', "False"),
        ("codes of any split", "or product_split(code) != wanted", ""),
        ("the shortest frame decides", "max(fitting, key=len)", "min(fitting, key=len)"),
    ),
    *of(
        "envs/ladder/shop.py",
        LADDER,
        (
            "a short name has a split of its own",
            "leaders |= {name: code for code, name in shown.items()}",
            "pass",
        ),
        (
            "twins of the stage's products only",
            "leaders |= leaders_of(everything)",
            "leaders |= leaders_of(real)",
        ),
        ("stand-ins are not marked", "remarks=remarks", "remarks=()"),
        ("the hardest first", "[*easiest, *others]", "[*easiest[::-1], *others]"),
        ("real products of any split", "for split in SPLIT_TURNS:", "for split in SPLITS:"),
    ),
    *of(
        "envs/ladder/difficulty.py",
        DIFFICULTY,
        ("rank counts from 0", "hits.index(product.asin) + 1", "hits.index(product.asin)"),
        ("the last option group alone counts", "math.prod(", "max("),
    ),
    *of(
        "envs/play.py",
        (UNIT + "envs/test_play.py",),
        ("results count from 0", "return products[int(word) - 1]", "return products[int(word) - 2]"),
        ("the end is not final", "if self._ended:", "if False:"),
        ("what was earned on the way is not explained", "if step.reward:", "if step.terminated:"),
    ),
    *of(
        "envs/staged.py",
        (UNIT + "envs/test_staged.py",),
        (
            "the first stage's shop for all",
            "self._shop.stages[goal.stage].session()",
            "next(iter(self._shop.stages.values())).session()",
        ),
        (
            "goals of two stages alike",
            'replace(goal, id=f"{name}/{goal.id}", stage=name)',
            "replace(goal, stage=name)",
        ),
    ),
    *of(
        "envs/webshop/search.py",
        (UNIT + "envs/webshop/test_search.py",),
        ("two searches write to the same arrays", "room = self._rooms.pop()", "room = self._rooms[-1]"),
        (
            "equal scores in order of number",
            "np.lexsort((self._ranks[candidates], -rounded))",
            "np.argsort(-rounded)",
        ),
        ("a hit must reach more than it need", "least - rest[done]), np.float32", "least), np.float32"),
    ),
]
