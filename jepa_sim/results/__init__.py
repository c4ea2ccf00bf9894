"""What a run tells: observables, critical times, the order of features, a diagnosis."""
