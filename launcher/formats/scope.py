"""What a script has set, and how much may still be made of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from launcher.formats.words import Piece, Text, text_of

MOST_STEPS = 40_000  # parts of scripts that are looked at
MOST_MADE = 1 << 20  # characters that variables may make of a script
MOST_TESTS = 4  # that one variable hangs on
Value = tuple[Text, ...]  # of an array; a variable has one


@dataclass
class Scope:
    """What a script has set so far."""

    variables: dict[str, Value] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    exports_all: bool = False
    arguments: Value | None = None  # None: from outside
    # variables that tests decided that are only taken to hold, and the tests
    assumed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    assuming: tuple[str, ...] = ()  # such tests, of the branches that are being read
    skipped: str = ""  # a test of a branch that is being read, and is not taken

    def copy(self) -> Scope:
        """Another that what follows does not change."""
        return replace(
            self,
            variables=dict(self.variables),
            exported=set(self.exported),
            assumed=dict(self.assumed),
        )

    def take(self, other: Scope, before: Scope) -> None:
        """What another branch set since `before`, and this one did not."""
        for name, value in other.variables.items():
            was = before.variables.get(name)
            if value != was and self.variables.get(name) == was:
                self.variables[name] = value
        self.exported |= other.exported

    def assume(self, before: Scope, test: str) -> None:
        """What is known since `before` hangs on a test that is taken to hold."""
        for name, value in self.variables.items():
            is_known = all(piece.known for text in value for piece in text)
            if is_known and value != before.variables.get(name):
                told = (*self.assumed.get(name, ()), test)
                self.assumed[name] = tuple(dict.fromkeys(told))[:MOST_TESTS]

    def doubt(self, before: Scope) -> None:
        """What was something else `before` a test that may be false is from outside; a list of
        words that has more of them now keeps them.
        """
        for name, value in self.variables.items():
            was = before.variables.get(name, ())
            if len(was) != 1 or len(value) != 1 or value == was:
                continue
            old, new = text_of(was[0]), text_of(value[0])
            if old and f" {old} " not in f" {new} ":
                self.variables[name] = ((Piece(f"${name}", known=False),),)


class Budget:
    """How much may still be made of one text."""

    def __init__(self) -> None:
        self.steps, self.made = MOST_STEPS, MOST_MADE
        self.is_spent = False

    def step(self) -> bool:
        """Whether there is one left."""
        self.steps -= 1
        self.is_spent |= self.steps < 0
        return self.steps >= 0

    def makes(self, length: int) -> bool:
        """Whether so many characters are still to be had."""
        self.made -= length
        self.is_spent |= self.made < 0
        return self.made >= 0
