"""Comparison of the WebShop reproduction with records of the original: `python -m webshop_rl.envs.parity`.

A row gives inputs (a goal and a purchase; a query; a goal and actions) and what the original answered. The
answers are compared, field by field and with their types. Whatever else a row has says where it came from.
"""
