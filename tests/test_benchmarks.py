"""Benchmarks time the networks that they say they time."""

from benchmarks import time_to_quality
from benchmarks.cases import CASES
from jaxdiff import config as configs


def test_time_to_quality_trains_the_network_of_its_case():
  unet = CASES['small']().config.network
  parsed = configs.parse(time_to_quality.flags_of(unet))
  assert parsed.network == unet
  assert parsed.network != configs.load_file(time_to_quality.CONFIG).network
