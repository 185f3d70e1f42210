"""Networks in Flax Linen: `init` and `apply` are the pure functions.

A denoising network is called as `net(xt, t, cond, train=False)`: noisy data
[B, ...], times in [0, 1], [B], and the conditions that it was built for, which
`embedding` lists. Without `cond` all labels are null. A label above the null
label gives NaN. Outputs are float32. Settings out of range raise ValueError;
so do inputs and conditions that the network was not built for.

Attributes that several networks have:

  num_classes   number of labels, whose embedding is added to that of time;
                None: no labels
  text_dim      D of a text to attend to; None: no text
  pooled_dim    P of a text as one vector, whose projection is added to the
                embedding of time; None: no vector
  low_res       whether a smaller image is concatenated to xt, resized, and the
                embedding of its noise added to that of time
  second_time   whether the network is told a second time, s <= t, too: see
                `losses.flow_maps`
  augment_labels   how many numbers say how an image was augmented: see
                `jaxdiff.augmentation`; 0: none
  time_scale    the largest frequency of the embedding of time; 1000 in DDPM. A
                derivative by t grows with it
  dtype         of computation, float32 or bfloat16; parameters, statistics of
                norms, softmax and the output layer are float32
  remat         whether to recompute each block in the backward pass: the same
                numbers, less memory, about a third more work; or the name of
                a policy of `jax.checkpoint_policies`, which keeps some of it
"""
