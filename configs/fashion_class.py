"""Fashion-MNIST by class: configs/fashion_mnist.py, with the label.

  python -m jaxdiff.data prepare tfds:fashion_mnist
  python train.py --config configs/fashion_class.py
  python sample.py runs/fashion_class --labels 0,1,2,3 --scale 2

1,115,940 parameters, 6,000 steps of 64. 38 minutes on two CPU cores with other
work (2026-11-30, Python 3.13, jax 0.12.0.1). Expected: loss 0.143, Frechet
distance 0.13 at scale 1 (docs/results/fashion_class.json), and the picture in
the README.
"""

import dataclasses

from jaxdiff import config as c

fashion = c.load_file('configs/fashion_mnist.py')
config = dataclasses.replace(
  fashion,
  workdir='runs/fashion_class',
  condition=c.Condition(label=True, drop=0.1),
  sampling=c.Sampling(sampler='ddim', steps=20, scale=2.0, num=40),
)
