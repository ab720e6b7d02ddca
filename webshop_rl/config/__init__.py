"""The configuration of a run: its schema with the facts of each key, one walk over them, checks; no torch."""

from webshop_rl.config.load import load as load
from webshop_rl.config.load import register as register
from webshop_rl.config.schema import RunConfig as RunConfig
from webshop_rl.config.validate import validate as validate
