"""When and where a small transformer stops storing answers and starts to compute them.

    table = make_table("a+b", p=113, train_fraction=0.3, seed=0)                     # operations
    for snapshot in train_side_by_side([Network("one", table, seed=0)], Shape(113), Recipe()):
        ...                                                                          # training
    weights = read_weights(state_dict)          # network: anybody's, of that architecture
    keys = find_frequencies(weights, table).readout                                  # measures
    measured = measure_weights(weights, table, keys)
    find_phases(epochs, [measured, ...])                                             # phases

Source: Power et al. (2022); Nanda et al. (2023), "Progress measures for grokking via mechanistic
interpretability".
"""
