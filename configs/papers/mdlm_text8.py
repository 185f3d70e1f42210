"""MDLM on text8 (Sahoo et al. 2024): lm1b.py's settings on characters.

  python train.py --config configs/papers/mdlm_text8.py

--data.name is the published file of 100,000,000 characters. 85,071,388
parameters: the network has no time as an input and so no modulation; with
--network.time it has 92.4 million, about as the released code. Hardware: README
there names none; not run here. The paper has no figure for text8; MD4's is 1.37
bits/character (text8.py). Settings: configs/config.yaml and
configs/data/text8.yaml of kuleshov-group/mdlm. Its text is cut into chunks of
254 characters between two marks, ours begins anywhere.
"""

import dataclasses

from jaxdiff import config as c

lm1b = c.load_file('configs/lm1b.py')
config = dataclasses.replace(
  lm1b,
  workdir='runs/mdlm_text8',
  data=c.Data(name='text:text8', length=256),
  diffusion=dataclasses.replace(lm1b.diffusion, loss='nelbo'),
)
