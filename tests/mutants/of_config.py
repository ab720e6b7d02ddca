"""Keys and signatures, and V*'s estimator and store: errors that a test must notice."""

from __future__ import annotations

from tests.mutants.mutant import UNIT, Mutant, of

ESTIMATOR = (UNIT + "values/test_estimator.py",)

MUTANTS: list[Mutant] = [
    *of(
        "values/estimator.py",
        ESTIMATOR,
        ("not divided by N", "/ beta).mean(axis=-1)", "/ beta).sum(axis=-1)"),
        ("beta is lost", "top + beta * np.log1p", "top + np.log1p"),
        ("the minimum for the maximum", "top = r.max(axis=-1)", "top = r.min(axis=-1)"),
    ),
    *of(
        "values/store.py",
        (UNIT + "values/test_store.py",),
        ("the last written counts", "entry.origin < old.origin", "entry.origin > old.origin"),
    ),
    *of(
        "config/schema.py",
        (UNIT + "config/test_walk.py",),
        (
            "checkpoints change the signature",
            "section(CheckpointConfig, affects_result=False)",
            "section(CheckpointConfig)",
        ),
        ("V*'s seed is no seed", "ranged(ge=0, seed=True, decides=", "ranged(ge=0, decides="),
    ),
    *of(
        "config/fields.py",
        (UNIT + "config/test_walk.py",),
        ("a key forgets its section's facts", "replace(self, **{", "replace(Facts(), **{"),
    ),
    *of(
        "config/validate.py",
        (UNIT + "config/test_data.py",),
        ("data is not looked for", "values := schema.find(tree[name])", "values := {}"),
    ),
    *of(
        "config/engine.py",
        (UNIT + "config/test_engine.py",),
        ("any version does", "< _OLDEST", "< (0, 0)"),
    ),
]
