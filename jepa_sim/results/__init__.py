"""Results of a run: observables, critical times, the order of features, a diagnosis."""
