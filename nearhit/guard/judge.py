"""Guard: decides from two texts and their similarity whether the answer to one is right for the other."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from nearhit.errors import ConfigError
from nearhit.guard.analysis import MAX_CHARACTERS, analyse
from nearhit.guard.compare import Comparison, compare_texts
from nearhit.guard.features import FEATURES, features
from nearhit.guard.layout import layout_difference
from nearhit.guard.network import Network, default_network
from nearhit.guard.reasons import differences, first_reason
from nearhit.guard.rules import veto
from nearhit.guard.verdict import REASONS, Difference, Explanation, RefusalReason, Verdict

DEFAULT_LEVEL: Final = 0.55
_SAME_WORDS: Final = Verdict(accepted=True, reason=None, probability=None)
_REFUSED: Final = {reason: Verdict(accepted=False, reason=reason, probability=None) for reason in REASONS}


class Guard:
    """Refuses a near text that means something else.

    Built once and shared: it holds no state between calls, so that threads may use one. First a few rules, which
    alone refuse; then a small network over the differences and the similarity. Its words are
    English. In other languages, told by script and frequent words, only what hangs on no words counts: numbers, names,
    identifiers, how much differs and in which order.

    Args:
        level: the probability of a right answer from which a candidate is accepted, 0 to 1. Measured on balanced
            pairs of hard cases: in natural traffic, an accepted candidate is right more often than that.
        network: other weights than those that ship.

    Raises:
        ConfigError: ``level`` is not between 0 and 1.

    >>> guard = Guard()
    >>> guard.judge("How do I reset my password?", "How can I reset my password?", 0.95).accepted
    True
    >>> guard.judge("How long do I boil 2 eggs?", "How long do I boil 3 eggs?", 0.97).reason.value
    'number'
    """

    __slots__ = ("_network", "level")

    def __init__(self, *, level: float = DEFAULT_LEVEL, network: Network | None = None) -> None:
        if not 0.0 <= level <= 1.0:
            raise ConfigError(f"guard level {level} is not between 0 and 1")
        self.level = level
        self._network = network or default_network()

    def judge(self, prompt: str, candidate: str, similarity: float) -> Verdict:
        """Return whether the answer to ``candidate`` may be given for ``prompt``; never raises for a text.

        Symmetric in the two texts. Texts longer than ``MAX_CHARACTERS`` are compared up to there, and refused
        with ``too_long`` unless the rest is the same, letter for letter.

        Args:
            prompt: the text that was asked.
            candidate: the text whose answer is in the cache.
            similarity: their similarity, -1 to 1.
        """
        if prompt == candidate:
            return _SAME_WORDS
        if not (prompt.isascii() and candidate.isascii()) or "\n" in prompt or "\n" in candidate:
            other_layout = layout_difference(prompt, candidate)
            if other_layout is not None:
                return _REFUSED[other_layout.reason]
        pair = _compare(prompt, candidate)
        if pair is None:
            return _REFUSED[RefusalReason.TOO_LONG]
        if pair.same_words:
            return _SAME_WORDS
        reason = veto(pair)
        if reason is not None:
            return _REFUSED[reason]
        similarity = 0.0 if similarity < 0.0 else min(similarity, 1.0)
        probability = self._network.probability(features(pair, similarity))
        if probability >= self.level:
            return Verdict(accepted=True, reason=None, probability=probability)
        return Verdict(accepted=False, reason=first_reason(pair), probability=probability)

    def explain(self, prompt: str, candidate: str, similarity: float) -> Explanation:
        """Return the verdict of ``judge`` with the differences and the values that led to it."""
        verdict = self.judge(prompt, candidate, similarity)
        pair = _compare(prompt, candidate)
        if pair is None:
            return Explanation(verdict, self.level, (), MappingProxyType({}))
        found_values = features(pair, similarity)
        values = dict.fromkeys(FEATURES, 0.0) | dict(zip(FEATURES, map(float, found_values), strict=False))
        found = differences(pair)
        if pair.first not in (analyse(prompt[:MAX_CHARACTERS]), analyse(prompt[:MAX_CHARACTERS], True)):
            found = tuple(Difference(one.reason, one.candidate, one.prompt) for one in found)
        other_layout = layout_difference(prompt, candidate)
        if other_layout is not None:
            found = (other_layout, *found)
        return Explanation(verdict, self.level, found, MappingProxyType(values))


def _compare(prompt: str, candidate: str) -> Comparison | None:
    """Return the two texts side by side; ``None`` where they are too long to be compared and not alike."""
    if len(prompt) > MAX_CHARACTERS or len(candidate) > MAX_CHARACTERS:
        if prompt[MAX_CHARACTERS:] != candidate[MAX_CHARACTERS:]:
            return None
        prompt, candidate = prompt[:MAX_CHARACTERS], candidate[:MAX_CHARACTERS]
    return compare_texts(prompt, candidate)
