"""Bits of its training set that a model holds: definitions for any model and any data.

    coded = code_tokens(logits, tokens)                    # codes: how a model codes sequences
    memorized(coded.bits_after(1), reference_bits)         # codes: beyond a reference
    extraction_rates(coded, prefixes)                      # codes: what it says by heart
    infer_membership(member_bits, other_bits)              # membership: seen or not, by a threshold
    predict_membership(n_sequences, n_parameters)          # law: how well that should do
    measure_memorization(responses)                        # halves: what of an adapter is rote

Source: Morris et al. (2025), "How much do language models memorize?", arXiv 2505.24832.
"""
