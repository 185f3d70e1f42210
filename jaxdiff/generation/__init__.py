"""Generation: the one way from a run to samples.

flags        the flags of a command become the settings of a run
conditions   labels, prompts or a data set become rows of conditions
sampler      a model becomes draw(params, options, index)
job          all of these together: `make_job(flags, mesh)`
writer       samples on disk; an interrupted job continues
"""
