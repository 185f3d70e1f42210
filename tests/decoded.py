"""All examples of a data set, and its texts as written."""

import numpy as np

from jaxdiff.data.vocabulary import decode


def everything(data):
  return data.gather(np.arange(len(data)))


def decoded(data):
  arrays = everything(data)
  masks = arrays.get('mask', [None] * len(data))
  return [
    decode(x0, data.symbols, mask)
    for x0, mask in zip(arrays['x0'], masks, strict=True)
  ]
