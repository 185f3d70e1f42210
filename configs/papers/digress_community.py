"""DiGress on graphs of two communities, at the authors' settings.

  python train.py --config configs/papers/digress_community.py
  python -m jaxdiff.evaluation graphs runs/digress_community

community_small.py is the size for a CPU. 4,835,714 parameters. Hardware: one
GPU; not run here; the paper's MMDs for this set were not seen. Settings:
configs/experiment/comm20.yaml of cvignac/DiGress: a million epochs of one step
of all training graphs, 80 here and 64 there. See digress_planar.py for what
differs.
"""

import dataclasses

from jaxdiff import config as c

planar = c.load_file('configs/papers/digress_planar.py')
config = dataclasses.replace(
  planar,
  workdir='runs/digress_community',
  data=c.Data(name='community_small'),
  diffusion=dataclasses.replace(planar.diffusion, num_steps=500),
  network=dataclasses.replace(planar.network, depth=8),
  training=dataclasses.replace(
    planar.training, num_steps=1_000_000, batch_size=80
  ),
  sampling=dataclasses.replace(planar.sampling, steps=500, num=20),
)
