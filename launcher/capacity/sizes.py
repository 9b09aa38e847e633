"""The shape and the weights of a model, by its own files' words, else by what its name tells.
Pure.
"""

from __future__ import annotations

from launcher.capacity.memory import Weights, from_shape, named, precision, resized
from launcher.engines import traits
from launcher.errors import UserError
from launcher.host.facts import Model
from launcher.knowledge import shape as shapes
from launcher.knowledge.shape import Shape


def shape(model: Model, asked: str) -> Shape:
    """The shape of a checkpoint; `asked` is its hub id or folder. Raises UserError: unknown."""
    config = model.config.otherwise({}) or named(asked)
    if not config:
        why = _resized(asked) or model.config.unknown or "it has no config.json"
        raise UserError(
            f"the sizes of {asked} are unknown: {why}",
            fix="--model DIR, a folder with config.json",
        )
    try:
        return shapes.shape(config)
    except ValueError as error:
        what = f"{asked}: its config.json {error}"
        raise UserError(what, fix="give a folder with the model's own config.json") from None


def _resized(asked: str) -> str | None:
    word = resized(asked)
    return f"by {word!r} in its name it is not as large as its family" if word else None


def weights(model: Model, asked: str, shape: Shape) -> Weights:
    """Its weights as its quantisation makes them. Raises UserError where nobody knows that."""
    quantised = traits.quantisation(model, asked)
    weighs = precision(quantised) if quantised else None
    if weighs is None:
        why = f"{quantised} has no sizes here" if quantised else "nobody knows how it is quantised"
        raise UserError(
            f"the sizes of {asked} are unknown: {why}",
            fix="--model DIR, a folder with its files, or with a config.json that says it",
        )
    return from_shape(shape, weighs)
