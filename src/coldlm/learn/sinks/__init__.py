"""Where series, headlines, tables, figures and weights of runs go besides the run folder: each
file is the only door to one library (``runs.track.Sink``)."""
