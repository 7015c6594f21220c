"""What a command would do about its steps, found out before it starts anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eddyscope.stages.review import Review
from eddyscope.stages.step import Step

__all__ = ["Outlook"]


@dataclass(frozen=True)
class Outlook:
    """Of the steps that were looked at so far, in their order."""

    words: Mapping[str, str] = field(default_factory=dict)
    """Step -> what becomes of it."""
    coming: frozenset[Path] = frozenset()
    """Files that will be made anew: what they hold now means nothing for later steps."""

    def with_step(self, step: Step, found: Review) -> Outlook:
        """This, with what is to be done about one more step."""
        coming = self.coming if found.skip else self.coming.union(step.outputs)
        return Outlook({**self.words, step.name: found.words}, coming)

    def lines(self, before: Outlook) -> list[str]:
        """A line for each thing to be done that is not foreseen `before`, and its steps."""
        steps: dict[str, list[str]] = {}
        for name, words in self.words.items():
            if name not in before.words:
                steps.setdefault(words, []).append(name)
        return [f"{', '.join(names)}: {words}" for words, names in steps.items()]
