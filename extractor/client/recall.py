"""Whether servers are asked by digest what they remember, before images are sent."""

from __future__ import annotations

from extractor.client.packing import ASKED_FOR, SENT, Room

WORTH_ASKING = 4
"""Images in a request from which on it may be asked first which of them are remembered."""


class Recall:
    """Asks where it pays, which is where most images are remembered.

    While the answers pay, it is asked for every request. After an attempt that
    did not, twice as many requests as after the one before go without.
    """

    LONGEST = 64

    def __init__(self) -> None:
        self._pays = self._all = False
        self._pause = 1
        self._left = 0

    def room(self) -> Room:
        """How much goes together: more, where all of it is probably remembered."""
        return ASKED_FOR if self._all else SENT

    def attempts(self, images: int) -> bool:
        """Whether to ask for so many, and to wait for the answer, in order to learn whether it pays."""
        if self._pays or images < WORTH_ASKING:
            return False
        self._left -= 1
        return self._left < 0

    def pays(self, images: int) -> bool:
        """Whether to ask for so many because it paid so far; a few images are sooner sent."""
        return self._pays and images >= WORTH_ASKING

    def learn(self, known: int, asked: int, *, attempt: bool) -> None:
        """From an answer that had `known` of the `asked` images; several may come at once."""
        paid = 2 * known >= asked
        if attempt or (self._pays and not paid):
            self._left = self._pause
        if attempt:
            self._pause = 1 if paid else min(2 * self._pause, self.LONGEST)
        self._pays, self._all = paid, known == asked
