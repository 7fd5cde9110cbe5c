"""Tills: from a card to the answer, for one purchase or a batch, and the same answer to whoever asks again."""
