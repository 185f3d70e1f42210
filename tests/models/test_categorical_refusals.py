"""Settings of categorical models that do not exist."""

import dataclasses

import pytest
import tiny
from categories import (
  GRAPHS,
  NETWORK,
  TEXT,
  with_diffusion,
  with_sampling,
  with_time,
)

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.sampler import make_sampler


@pytest.mark.parametrize(
  'values, message',
  [
    (dict(process='gauss'), 'diffusion.process must be one of'),
    (dict(schedule='edm'), "diffusion.schedule must be one of .*'mutual_info"),
    (dict(prediction='v'), r"one of \['logits', 'log_ratios'\], got 'v'"),
    (dict(loss='mse'), 'diffusion.loss must be one of'),
    (dict(times='log_normal'), 'diffusion.times for .* must be one of'),
    (
      dict(process='ordinal', prediction='log_ratios'),
      'needs --diffusion.prediction logits',
    ),
    (dict(process='uniform'), 'needs --network.time'),
    (
      dict(process='uniform', prediction='log_ratios'),
      'log_ratios says nothing',
    ),
    (dict(loss='nelbo', times='logit_normal'), 'diffusion.times for'),
    (dict(loss='variational', times='grid'), 'diffusion.times for'),
    (dict(loss='cross_entropy(edges=5.0)'), 'nodes have no categories'),
  ],
)
def test_diffusions_of_text_that_there_are_not(values, message):
  with pytest.raises(ValueError, match=message):
    config = with_time(TEXT) if 'prediction' in values else TEXT
    models.make(with_diffusion(config, **values), tiny.text_spec())


@pytest.mark.parametrize('field', ['weighting', 'shift', 'variance', 'error'])
def test_fields_of_gaussian_noise_are_unknown(field):
  with pytest.raises(ValueError, match=f'unknown field diffusion.{field}'):
    c.from_dict({'diffusion': {'kind': 'Categorical', field: 1.0}})


@pytest.mark.parametrize(
  'config, spec, values, message',
  [
    (TEXT, tiny.text_spec(), dict(sampler='ddim'), 'sampler must be one of'),
    (TEXT, tiny.text_spec(), dict(times='karras'), 'is for Gaussian noise'),
    (TEXT, tiny.text_spec(), dict(guidance='apg'), 'is for real numbers'),
    (TEXT, tiny.text_spec(), dict(block=0), 'block must be in .1, .*got 0'),
    (
      TEXT,
      tiny.text_spec(),
      dict(temperature=0.0),
      r'must be in \[0.000001, .*got 0',
    ),
    (TEXT, tiny.text_spec(), dict(eta=0.5), 'sampling.eta is for real numbers'),
    (TEXT, tiny.text_spec(), dict(times='log_snr'), 'is for Gaussian noise'),
    (
      TEXT,
      tiny.text_spec(),
      dict(times='numpy:linspace(1.0, 0.1, 4)'),
      'ends at 0.1, .* for categories it must end at 0',
    ),
    (
      TEXT,
      tiny.text_spec(),
      dict(times='leading(table_steps=20,offset=1,last=1)', steps=8),
      'must end at 0',
    ),
    (
      GRAPHS,
      tiny.graph_spec(),
      dict(times='leading(last=1, offset=1)', steps=8),
      'must end at 0',
    ),
    (TEXT, tiny.text_spec(), dict(rescale=0.5), 'rescale is for real numbers'),
    (
      TEXT,
      tiny.text_spec(),
      dict(threshold='dynamic'),
      'threshold is for real numbers',
    ),
    (TEXT, tiny.text_spec(), dict(augment=0.2), 'augment is for real numbers'),
    (
      tiny.config,
      tiny.SPEC,
      dict(block=3),
      '--sampling.block is for categories, got 3',
    ),
    (
      tiny.config,
      tiny.SPEC,
      dict(temperature=0.5),
      '--sampling.temperature is for categories, got 0.5',
    ),
    (with_time(TEXT), tiny.text_spec(), dict(block=2), 'told t has not met'),
    (
      with_diffusion(
        with_time(TEXT),
        process='uniform',
        schedule='log_linear',
        prediction='log_ratios',
      ),
      tiny.text_spec(),
      dict(temperature=0.5),
      'temperature is for logits',
    ),
    (
      with_diffusion(
        with_time(TEXT),
        process='uniform',
        schedule='log_linear',
        prediction='log_ratios',
      ),
      tiny.text_spec(),
      dict(sampler='greedy_tail'),
      'greedy_tail is for logits',
    ),
    (GRAPHS, tiny.graph_spec(), dict(block=2), 'needs .*absorbing'),
    (GRAPHS, tiny.graph_spec(), dict(sampler='remasked'), 'lifts masks'),
    (
      with_diffusion(GRAPHS, process='absorbing'),
      tiny.graph_spec(),
      dict(sampler='surest_first'),
      'lifts masks: .* and no graph',
    ),
    (
      with_diffusion(with_time(TEXT), process='uniform'),
      tiny.text_spec(),
      dict(sampler='remasked'),
      'lifts masks: it needs --diffusion.process absorbing',
    ),
    (
      with_diffusion(with_time(TEXT), process='ordinal'),
      tiny.text_spec(),
      dict(sampler='rate_matrix'),
      'rate_matrix needs .* absorbing or uniform or marginal',
    ),
    (
      TEXT,
      tiny.text_spec(),
      dict(sampler='surest_first("x")'),
      'score must be',
    ),
  ],
)
def test_samplings_that_there_are_not(config, spec, values, message):
  with pytest.raises(ValueError, match=message):
    config = with_sampling(config, **values)
    make_sampler(models.make(config, spec), config.sampling)


def test_data_that_is_always_the_same_has_no_marginal_noise():
  spec = tiny.graph_spec()._replace(marginals={'edges': (0.0, 1.0)})
  with pytest.raises(ValueError, match='every element is the same'):
    models.make(GRAPHS, spec)


def test_pixels_as_categories_are_not_enlarged():
  with pytest.raises(ValueError, match='low-res is for images that are real'):
    dataclasses.replace(
      TEXT, network=tiny.UNET, condition=c.Condition(low_res=4)
    )


def test_a_network_is_for_its_kind_of_data():
  unet = dataclasses.replace(TEXT, network=tiny.UNET)
  wrong = [
    (TEXT, tiny.graph_spec(), 'GraphTransformer'),
    (GRAPHS, tiny.text_spec(), "'Transformer'"),
    (unet, tiny.text_spec(), "'Transformer'"),
    (dataclasses.replace(tiny.config, network=NETWORK), tiny.SPEC, 'UNet'),
    (tiny.config, c.Spec('points', (2,)), 'MLP'),
  ]
  for config, spec, right in wrong:
    with pytest.raises(ValueError, match=rf'modality .* one of \[.*{right}'):
      models.make(config, spec)
