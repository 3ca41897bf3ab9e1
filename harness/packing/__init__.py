"""Batches without padding: the tokens of texts side by side, as one sequence.

Linear layers see all tokens of a batch at once; attention, in the place of transformers' own, keeps
each text to itself. sentence-transformers reads such a batch as one of FlashAttention
(`cu_seq_lens_q`), so whatever it makes of tokens, it makes of these. What a row of a matrix product
comes to does not depend on the other rows, where there are a few: on a processor a text's vector is
the same to the bit in any batch.
"""
