"""Comparison of the WebShop reproduction with records of the original, field by field.

`python -m webshop_rl.envs.parity CORPUS_DIR --data-dir DATA_DIR`. Every field of every row is derived
anew where it can be, and held to the strictest rule that the kind of row allows where it cannot
(docs/webshop.md lists those).
"""
