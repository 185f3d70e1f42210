"""Vocabulary: strings to categories and back; category k is symbols[k].

A text is its symbols joined. MASK, the category len(symbols) of absorbing
noise, is in no vocabulary, but can be written and shown as a character that is
not in it.
"""

from collections.abc import Sequence

import numpy as np

from jaxdiff.data.dataset import Dataset

CODE_POINTS = 0x110000  # of Unicode


def encode(
  text: str, symbols: Sequence[str], mask_symbol: str | None = None
) -> np.ndarray:
  """Encodes a text, character by character, to int32 [L].

  Args:
    text: The text.
    symbols: The vocabulary, characters.
    mask_symbol: The character that stands for MASK, as in '037+481=___', if
      any.

  Raises:
    ValueError: Characters are outside the vocabulary, `mask_symbol` is in it,
      or it has longer tokens.
  """
  if longer := [s for s in symbols if len(s) != 1]:
    raise ValueError(
      'only a vocabulary of characters can encode a text; this one has '
      f'tokens such as {longer[:3]}: use its tokenizer'
    )
  ids = {symbol: k for k, symbol in enumerate(symbols)}
  if mask_symbol is not None:
    if mask_symbol in ids:
      raise ValueError(
        f'{mask_symbol!r} cannot stand for MASK, being in the vocabulary: '
        'choose another character'
      )
    ids[mask_symbol] = len(symbols)
  if unknown := sorted(set(text) - ids.keys()):
    raise ValueError(
      f'characters outside the vocabulary: {unknown}; it has '
      f'{"".join(symbols)!r}'
    )
  return np.array([ids[character] for character in text], np.int32)


def decode(
  x: np.ndarray,
  symbols: Sequence[str],
  mask: np.ndarray | None = None,
  mask_symbol: str = '_',
) -> str:
  """Decodes one example, integers [L]; MASK is written as `mask_symbol`.

  The text ends before the first element that does not exist by `mask`, bool
  [L].
  """
  length = len(x) if mask is None or np.all(mask) else int(np.argmin(mask))
  written = (*symbols, mask_symbol)
  return ''.join(written[k] for k in np.asarray(x)[:length])


def code_points(text: str) -> np.ndarray:
  """Unicode's numbers of characters, uint32 [L]."""
  return np.frombuffer(text.encode('utf-32-le'), '<u4')


def lookup(symbols: Sequence[str]) -> np.ndarray:
  """Makes a table from code points to categories, for long texts.

  lookup(symbols)[code_points(text)] is `encode`, in the smallest integers that
  hold the categories; a character outside the vocabulary is 0.
  """
  codes = [ord(symbol) for symbol in symbols]
  table = np.zeros(CODE_POINTS, np.min_scalar_type(max(len(codes) - 1, 0)))
  table[codes] = np.arange(len(codes))
  return table


def decode_all(dataset: Dataset) -> list[str]:
  """Decodes all texts of a data set."""
  arrays = dataset.gather(np.arange(len(dataset)))
  masks = arrays.get('mask', [None] * len(dataset))
  return [
    decode(x, dataset.symbols, mask)
    for x, mask in zip(arrays['x0'], masks, strict=True)
  ]
