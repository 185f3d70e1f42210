"""D3PM on text8 with uniform noise (Austin et al. 2021).

  python train.py --config configs/papers/d3pm_text8_uniform.py

d3pm_text8_absorbing.py with characters redrawn, not masked, on the cosine
schedule of its code and without the auxiliary loss. 92,412,187 parameters.
Hardware: the authors' is not known; not run here. Expected: at most 1.61
bits/character with 1000 steps (table 1).
"""

import dataclasses

from jaxdiff import config as c

absorbing = c.load_file('configs/papers/d3pm_text8_absorbing.py')
config = dataclasses.replace(
  absorbing,
  workdir='runs/d3pm_text8_uniform',
  diffusion=dataclasses.replace(
    absorbing.diffusion,
    process='uniform',
    schedule='offset_cosine(power=1.0)',
    loss='variational',
  ),
)
