"""Rows of kind "searches": a query, its tokens, the ranking and its scores."""

from __future__ import annotations

from webshop_rl.envs.parity.differences import Difference, first_difference, rule
from webshop_rl.envs.parity.reference import Reference
from webshop_rl.envs.parity.rows import Checker, Content, check_id
from webshop_rl.envs.webshop.analysis import tokens

SCORE_DIGITS = 4
SOURCES = ("instruction_synthetic", "human_goal_text", "human_query", "edge")
# What people wrote is a sentence, a list of wishes or at least a few words; an edge case is short.
FEWEST_WORDS_OF_GOAL_TEXT = 4
MOST_TOKENS_OF_EDGE = 12


def searches_checker(reference: Reference) -> Checker:
    """Tokens, ranking and scores follow from the query; the source is held to what it says of the query."""

    def compare(row: Content) -> Difference | None:
        query = row.get("query")
        if not isinstance(query, str):
            return rule("query", "a text", query)
        hits = reference.synthetic.hits(query)
        expected = {
            "id": row.get("id"),
            "source": row.get("source"),
            "query": query,
            "asins": [asin for asin, _ in hits],
            "scores": [round(score, SCORE_DIGITS) for _, score in hits],
            "tokens": tokens(query),
        }
        return check_id(row) or first_difference(expected, row) or _check_source(row, reference)

    return Checker("searches", "id", lambda row: ("", row["id"]), compare)


def _check_source(row: Content, reference: Reference) -> Difference | None:
    source, query = row["source"], row["query"]
    if source not in SOURCES:
        return rule("source", f"one of {', '.join(SOURCES)}", source)
    is_instruction = query in reference.instructions
    if is_instruction != (source == "instruction_synthetic"):
        if is_instruction:
            return rule("source", "'instruction_synthetic', for the query is one", source)
        return rule("query", "the lower-cased instruction of a synthetic goal", query)
    if source.startswith("human") and (query != query.lower() or not tokens(query)):
        return rule("query", "what a person wrote, lower-cased", query)
    if source == "human_goal_text" and len(query.split()) < FEWEST_WORDS_OF_GOAL_TEXT:
        return rule("source", "another, for the query is too short for an instruction", source)
    if source == "edge" and len(set(tokens(query))) > MOST_TOKENS_OF_EDGE:
        return rule("source", "another, for the query has many words", source)
    return None
