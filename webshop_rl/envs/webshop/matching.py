"""How the reward compares texts: fuzzy token sets and colour names."""

from __future__ import annotations

import functools

from rapidfuzz.fuzz import token_set_ratio
from rapidfuzz.utils import default_process

MATCH_ABOVE = 85

# In the original's order: the first one found inside a value stands for it.
_COLOURS = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy
camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral
cranberry cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass
gray green grey heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon
mauve merlot midnight mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter
pink plum purple rainbow red rose royal rust sand sapphire seashell silver skull slate steel stone
stonewash sunflower tan taupe teal tiger turquoise violet walnut wheat white wine yellow
"""
COLOURS = tuple(_COLOURS.split())
_LATIN_1_REMOVED = dict.fromkeys(range(128, 256))


@functools.lru_cache(maxsize=1 << 14)
def normalise_colour(value: str) -> str:
    """The first known colour that stands anywhere in value, even inside a word; else value itself."""
    for colour in COLOURS:
        if colour in value:
            return colour
    return value


@functools.lru_cache(maxsize=1 << 14)
def similar(first: str, second: str) -> bool:
    """Whether the token sets of two texts match by more than 85 of 100, rounded half to even.

    Letters of Latin-1 beyond ASCII are dropped and punctuation splits words before the comparison. The
    tokens of one text being all among those of the other is a full match.
    """
    ratio = token_set_ratio(_prepared(first), _prepared(second))
    return round(ratio) > MATCH_ABOVE


@functools.lru_cache(maxsize=1 << 14)
def _prepared(text: str) -> str:
    return default_process(text.translate(_LATIN_1_REMOVED))
