"""The real WebShop: catalogue, goals and search, built once and shared by sessions."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence

from webshop_rl.envs import splits
from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop import files, pages
from webshop_rl.envs.webshop.answers import WebshopAnswers
from webshop_rl.envs.webshop.catalogue import Catalogue
from webshop_rl.envs.webshop.generated import generated_goals
from webshop_rl.envs.webshop.goal_table import SAMPLING_SEED, sample_prices
from webshop_rl.envs.webshop.goals import WebshopGoal, WebshopGoals, choose_goal, make_goals
from webshop_rl.envs.webshop.lookup import RESULT_CAP, ProductFinder
from webshop_rl.envs.webshop.prepared import ByAsin
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.reward import Score, count_options, score_purchase
from webshop_rl.envs.webshop.session import Rules, WebshopSession
from webshop_rl.envs.webshop.shown import ShownProducts
from webshop_rl.errors import UserError

MOST_GENERATED = 50_000  # products of a shop that makes goals of its own


class WebShop:
    """The original's text environment in pure Python; implements envs.types.Shop.

    The keyword arguments are the fields of WebshopConfig; left out, they are as in the original, with
    splits by product. Immutable after construction.

    Args:
        catalogue: what it sells, in the place of the files in data_dir.
    Raises: UserError if the data are missing or broken, or there is no goal.
    """

    def __init__(
        self,
        *,
        name: str = "webshop",
        data_dir: str | None = None,
        num_products: int | None = 1000,
        goals: str = "synthetic",
        train_goals: str = "given",
        split: str = "product",
        reward: str = "score",
        fidelity: str = "original",
        mode: str = "text",
        max_steps: int = 15,
        shaping_search: float = 0.1,
        shaping_open: float = 0.1,
        show_attributes: bool = False,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.name = name
        self.max_steps = max_steps
        self.fidelity = fidelity
        self.shown = ShownProducts(show_attributes=show_attributes)
        self._rules = Rules(reward, mode, max_steps, shaping_search, shaping_open, show_attributes)
        if catalogue is None:
            catalogue = Catalogue.load(files.data_folder(data_dir), num_products=num_products)
        self.products = catalogue.products
        self.remarks: Sequence[str] = catalogue.remarks
        self._catalogue = catalogue
        self._goals = self._all_goals(goals)
        if not self._goals:
            raise UserError(
                f"no {goals} goal for the first {len(self.products)} products",
                where=data_dir or "env",
                remedy="raise env.num_products, or choose other env.goals",
            )
        self._finder = ProductFinder(self.products, catalogue.prepared)
        self._split = self._assigned(split)
        self._generated: Sequence[WebshopGoal] = ()
        if train_goals == "generated":
            if len(self.products) > MOST_GENERATED:
                raise UserError(
                    f"generated goals are listed, of {len(self.products):,} products too many",
                    where="env.train_goals",
                    remedy=f"env.train_goals=given, or env.num_products={MOST_GENERATED} or fewer",
                )
            training = self._training_products(split, catalogue.leaders)
            self._generated = generated_goals(self.products, self.prices, training)
        self._generated_by_id = {goal.id: goal for goal in self._generated}

    def _all_goals(self, kind: str) -> WebshopGoals:
        """All goals; the prices, and the products by ASIN, too are from here on known."""
        prepared = self._catalogue.prepared
        self.prices: Mapping[str, float]
        self._by_asin: Mapping[str, Product]
        if prepared is not None:
            paid = prepared.prices(self.fidelity)
            self.prices = ByAsin(prepared.products, lambda place: float(paid[place]))
            self._by_asin = ByAsin(prepared.products, prepared.products.__getitem__)
            return WebshopGoals(prepared.products, prepared.goal_table(kind, self.fidelity))
        rng = random.Random(SAMPLING_SEED)
        self.prices = sample_prices(self.products, rng, fidelity=self.fidelity)
        self._by_asin = {product.asin: product for product in self.products}
        return make_goals(self._catalogue.asked, self.prices, rng, kind=kind)

    def _assigned(self, protocol: str) -> splits.Split:
        catalogue = self._catalogue
        prepared = catalogue.prepared
        if prepared is None:
            return splits.assign(self._goals, protocol, catalogue.leaders, catalogue.split_of)
        table = self._goals.table
        return splits.assign(
            self._goals,
            protocol,
            homes=lambda: prepared.homes()[table.firsts][table.instructions],
            digest=prepared.manifest.split_digests[table.kind].get(protocol),
        )

    def _training_products(self, split: str, leaders: Mapping[str, str]) -> set[str]:
        """The products that no goal is of, and that would be training products if there were one."""
        without = {product.asin for product in self.products} - {asin for _, asin in self._goals.names()}
        if split != "product":
            return without
        return {asin for asin in without if splits.product_split(leaders.get(asin, asin)) == "train"}

    def goals(self, split: str) -> Sequence[WebshopGoal]:
        """Goals of "train", "val", "test" or "all", in the original's shuffled order; of "train" the
        generated ones come after them.

        Raises: UserError if the split is unknown or contains no goal.
        """
        given = self._split.select(self._goals, split)
        return [*given, *self._generated] if split == "train" and self._generated else given

    def session(self) -> WebshopSession:
        """A new browser for this shop."""
        return WebshopSession(self, self._rules)

    def goal(self, goal: Goal) -> WebshopGoal:
        """The shop's own record of a goal.

        Raises: UserError if the goal is not of this shop.
        """
        known = self._goals.of_id(goal.id) or self._generated_by_id.get(goal.id)
        if known is None or known.instruction != goal.instruction:
            raise UserError(f"no goal {goal.id!r} in this shop", where="env", remedy="take it from goals()")
        return known

    def random_goal(self, rng: random.Random) -> WebshopGoal:
        """A goal by weight, as the original draws one when none is named (see goals.choose_goal)."""
        return choose_goal(self._goals, rng, fidelity=self.fidelity)

    def product(self, asin: str) -> Product:
        """The product with an ASIN. Raises: KeyError."""
        return self._by_asin[asin]

    def lookup(
        self, keywords: list[str], rng: random.Random, *, cap: int | None = RESULT_CAP
    ) -> Sequence[Product]:
        """The products that a search finds, best first (see lookup.ProductFinder)."""
        return self._finder.find(keywords, rng, cap=cap)

    def hits(self, query: str) -> list[tuple[str, float]]:
        """ASINs and scores of a ranked search, best first, at most 50."""
        return self._finder.hits(query)

    def score(
        self,
        product: Product,
        goal: WebshopGoal,
        options: Mapping[str, str],
        *,
        price: float | None = None,
    ) -> Score:
        """Score a purchase at the shop's price, or at another."""
        return score_purchase(
            product,
            self._by_asin[goal.asin],
            goal,
            price=self.prices[product.asin] if price is None else price,
            options=options,
            fidelity=self.fidelity,
        )

    def options_share(self, goal: WebshopGoal, options: Mapping[str, str]) -> float:
        """The share of the goal's options among those chosen; 1 where it asks for none."""
        wanted = len(goal.options)
        return count_options(options, goal, fidelity=self.fidelity) / wanted if wanted else 1.0

    def answers(self) -> WebshopAnswers:
        """What a demonstrator may know: of training goals, and of no others."""
        return WebshopAnswers(self)

    def digest(self) -> str:
        """Hex digest of products, prices, goals and rules: of all that decides an episode."""
        digest = hashlib.sha256(self._products_digest().encode())
        asked = self._catalogue.asked
        if asked is not self.products and list(asked) != list(self.products):
            for product in asked:
                digest.update(repr(product).encode("utf-8", "surrogatepass"))
        digest.update(self._goals.table.digest().encode())
        for goal in self._generated:
            digest.update(repr(goal).encode("utf-8", "surrogatepass"))
        digest.update(repr((self.fidelity, self._rules)).encode())
        return digest.hexdigest()

    def _products_digest(self) -> str:
        if self._catalogue.prepared is not None:
            return self._catalogue.prepared.manifest.products_digest
        digest = hashlib.sha256()
        for product in self.products:
            digest.update(repr(product).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def split_digest(self) -> str:
        """Hex digest of the assignment of goals to splits."""
        return self._split.digest

    def furniture(self) -> Iterator[str]:
        """What pages say besides instructions and products, in either mode."""
        yield from self._page_texts()
        yield pages.render(pages.EVERY_ROLE, "text_rich")

    @staticmethod
    def _page_texts() -> Iterator[str]:
        for node in (*pages.search_page(""), *pages.results_page("", (), page=1, total=50, opened=set())):
            yield node.text
        yield from (*pages.SUB_PAGES, pages.BUY_NOW, pages.PREVIOUS_PAGE, "Price:", f"Rating: {pages.RATING}")
        yield from (node.text for node in pages.end_page("", {}, 0.0))

    def texts(self) -> Iterator[str]:
        """All text that pages may show: page furniture, instructions, then what products say."""
        yield from self._page_texts()
        yield from (goal.instruction for goal in (*self._goals, *self._generated))
        for product in self.products:
            yield from (product.asin, product.asin.lower(), product.title, product.price_tag)
            for option, values in product.options.items():
                yield option
                yield from values
        for product in self.products:
            yield product.description
            yield from product.bullets
