"""The words that generated products are made of.

No word of a feature stands in another feature or anywhere else in a generated text, and no option value in
another one, so that the reward, which compares loosely, takes nothing for what it is not
(tests/unit/envs/test_ladder_generator.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """A kind of product.

    Attributes:
        query: what a shopper calls it, in the plural as the real shop's queries are.
        noun: its name in a title.
        category: one of the real shop's five.
        aisle: the first level of its product category; its query is the second, so two kinds share one level.
        prices: lowest and highest, whole dollars.
        options: names of the options that it is sold with.
    """

    query: str
    noun: str
    category: str
    aisle: str
    prices: tuple[int, int]
    options: tuple[str, ...] = ()


# The shop of the first stage, (colour, kind, price); the second adds other pairs of the same words.
SIMPLE_KINDS: Final = (
    Kind("shoes", "shoes", "fashion", "Clothing", (30, 60)),
    Kind("headphones", "headphones", "electronics", "Audio", (60, 120)),
    Kind("laptops", "laptop", "electronics", "Computers", (400, 900)),
    Kind("shirts", "shirt", "fashion", "Clothing", (15, 40)),
    Kind("backpacks", "backpack", "fashion", "Luggage", (25, 60)),
)
SIMPLE_COLOURS: Final = ("red", "blue", "black", "white", "green")
FIRST_PRICES: Final = (45, 89, 599, 25, 39)

COLOUR, SIZE = "color", "size"
OPTION_VALUES: Final = {
    COLOUR: ("pink", "navy", "olive", "purple", "yellow", "brown"),
    SIZE: ("small", "medium", "large"),
}
COLOURS_A_PRODUCT: Final = 3

KINDS: Final = (
    Kind("electric kettles", "Kettle", "garden", "Kitchen", (19, 59), (COLOUR,)),
    Kind("rain jackets", "Jacket", "fashion", "Outerwear", (29, 119), (COLOUR, SIZE)),
    Kind("desk lamps", "Lamp", "garden", "Lighting", (15, 69), (COLOUR,)),
    Kind("camping tents", "Tent", "garden", "Outdoors", (49, 299), (COLOUR,)),
    Kind("yoga mats", "Mat", "fashion", "Fitness", (12, 49), (COLOUR,)),
    Kind("wool sweaters", "Sweater", "fashion", "Knitwear", (25, 89), (COLOUR, SIZE)),
    Kind("herbal teas", "Tea", "grocery", "Beverages", (5, 25)),
    Kind("face creams", "Cream", "beauty", "Skin Care", (8, 45)),
    Kind("office chairs", "Chair", "garden", "Furniture", (59, 399), (COLOUR,)),
    Kind("hair dryers", "Dryer", "beauty", "Hair Care", (19, 99), (COLOUR,)),
    Kind("wall clocks", "Clock", "garden", "Decor", (12, 59), (COLOUR,)),
    Kind("hiking boots", "Boots", "fashion", "Footwear", (39, 159), (COLOUR, SIZE)),
    Kind("camera tripods", "Tripod", "electronics", "Photography", (19, 129)),
    Kind("protein bars", "Bars", "grocery", "Snacks", (9, 35)),
    Kind("leather wallets", "Wallet", "fashion", "Accessories", (15, 69), (COLOUR,)),
    Kind("bath towels", "Towel", "garden", "Bathroom", (9, 39), (COLOUR, SIZE)),
    Kind("phone chargers", "Charger", "electronics", "Mobile", (9, 49)),
    Kind("coffee mugs", "Mug", "garden", "Tableware", (6, 29), (COLOUR,)),
    Kind("bed sheets", "Sheets", "garden", "Bedding", (19, 99), (COLOUR, SIZE)),
    Kind("nail polishes", "Polish", "beauty", "Manicure", (4, 19), (COLOUR,)),
)

FEATURES: Final = (
    "heavy duty",
    "easy clean",
    "long lasting",
    "quick release",
    "space saving",
    "high quality",
    "non slip",
    "eco friendly",
    "low noise",
    "double sided",
    "battery powered",
    "slim fit",
    "water resistant",
    "cruelty free",
    "hand crafted",
    "fast drying",
    "soft touch",
    "travel ready",
    "gift boxed",
    "wide open",
    "deep tone",
    "smart control",
    "pet proof",
    "sun safe",
)
FEATURES_A_PRODUCT: Final = 3

BRANDS: Final = ("Norvik", "Ambrelo", "Kestron", "Luvanta", "Pirello", "Zemkov", "Ostara", "Wexmoor")

# How a shopper may ask; those after the first are held out, and made of the words of the first.
TRAIN_FRAMES: Final = (
    "i need {}",
    "i am looking for {}",
    "i want to buy {}",
    "find me {}",
    "i would like to find {}",
)
VAL_FRAMES: Final = ("i want {}",)
TEST_FRAMES: Final = ("i am looking to buy {}", "i would like {}")
