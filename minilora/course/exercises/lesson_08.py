"""Exercises of 08_a_real_model: bits of Q4_1, the order of q's rows, LoRA on SmolLM2, paired differences, and a trap."""

import numpy as np

from minilora.course.exercises.exercise import Exercise


def _losses(rng: np.random.Generator) -> list[tuple]:
    """(before, after): windows that differ much from one another, and little between the two."""
    cases = []
    for n, shift in ((24, 0.2), (7, -0.1), (50, 0.0)):
        before = 3.0 + 0.4 * rng.standard_normal(n)
        cases.append((before, before + shift + 0.05 * rng.standard_normal(n)))
    return cases


EXERCISES = (
    Exercise(
        name="q4_1_bits",
        title="bits of a Q4_1 weight",
        question="""
Q4_1 stores 32 weights as 32 codes of four bits, a step and a minimum, both float16. How many bits is that per weight?""",
        code="bits = ____",
        solution="4 + (16 + 16) / 32",
        mistakes={
            "4": "the step and the minimum are stored, too.",
            "4 + 16 / 32": "only one of the two statistics is counted; an affine code has two.",
            "4 + (32 + 32) / 32": "those would be float32 statistics; Q4_1 keeps them in float16.",
            "(4 + (16 + 16) / 32) / 8": "those are bytes; bits are asked for.",
            "32 * 4 + 32": "that is a whole block; divide by its 32 weights.",
        },
        learned="5 bits: 106 million weights of layers make 66 MB of the file. The rest is mostly the embedding in Q8_0.",
    ),
    Exercise(
        name="rows_of_q",
        title="rows in another order",
        question="""
llama.cpp rotates neighboring rows of a head against each other (0 with 1, 2 with 3, ...), Hugging Face the two halves of a head
(0 with d/2, 1 with d/2 + 1, ...). So the rows of q and k are stored in another order. Bring them into Hugging Face's: in each
head first all even rows, then all odd ones.""",
        code='''
            def rows_of_q(w, heads):
                """w: (heads * d, in), as the GGUF file has it   ->   the same shape, in Hugging Face's order"""
                d = w.shape[0] // heads
                return ____
        ''',
        solution="w.reshape(heads, d // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)",
        mistakes={
            "w.reshape(heads, 2, d // 2, -1).swapaxes(1, 2).reshape(w.shape)": "that is the way back; which axis has length 2 in the file?",
            "w.reshape(heads, d // 2, 2, -1).reshape(w.shape)": "reshaping there and back changes nothing; an exchange of axes is missing.",
            "w.reshape(d // 2, 2, -1).swapaxes(0, 1).reshape(w.shape)": "the heads are mixed: each head is reordered by itself.",
            "w.reshape(heads, d // 2, 2, -1).swapaxes(0, 1).reshape(w.shape)": "each head stays where it is: axis 0 is not moved.",
            "np.concatenate([w[0::2], w[1::2]])": "even rows first, but of all heads together: each head is reordered by itself.",
        },
        cases=lambda rng: [
            (rng.standard_normal((12, 3)), 2),
            (rng.standard_normal((16, 5)), 4),
            (np.arange(24.0).reshape(8, 3), 1),
        ],
        learned="Scores are sums over a head, so the order within it is free, as long as q, k and the rotation agree.",
    ),
    Exercise(
        name="smol_lora",
        title="LoRA on SmolLM2",
        question="""
SmolLM2 has 30 layers. In each: q and o are 576 -> 576, k and v 576 -> 192 (three heads of 64 for nine), gate and up
576 -> 1536, down 1536 -> 576. How many parameters does LoRA with r = 8 on all of them train?""",
        code="trained = ____",
        solution="30 * 8 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))",
        mistakes={
            "8 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))": "that is one layer; there are 30.",
            "30 * 8 * (4 * (576 + 576) + 3 * (576 + 1536))": "k and v have three heads of 64, not nine: they go from 576 to 192.",
            "30 * 8 * (2 * (576 + 576) + 2 * (576 + 192))": "the MLP is left out, where most weights are.",
            "30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)": "those are the weights; LoRA trains two thin matrices beside each.",
            "30 * 8 * (2 * 576 + 2 * 576 + 3 * 576)": "only A is counted (or only B); a layer trains r (in + out).",
            "2 * 30 * 8 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))": "counted twice: r times (in + out) is A and B together.",
        },
        learned="2,442,240 of 134,515,008: 1.8 %, a file of 9.8 MB.",
    ),
    Exercise(
        name="paired_error",
        title="two models, the same windows",
        question="""
The loss of a window tells more of the window than of the model: some texts are hard. `before` and `after` are the losses of
two models on the *same* windows. What is the standard error of their mean difference?""",
        code='''
            def paired_error(before, after):
                """(n,) nats per token, twice   ->   the standard error of mean(after - before)"""
                return ____
        ''',
        solution="(after - before).std(ddof=1) / np.sqrt(len(before))",
        mistakes={
            "np.sqrt((before.var(ddof=1) + after.var(ddof=1)) / len(before))": "hard windows are hard for both models, so subtract first.",
            "(after - before).std(ddof=1)": "that is the spread of one window's difference; a mean of n varies less.",
            "(after - before).std(ddof=1) / len(before)": "variances shrink with n, standard deviations with its root.",
            "(after - before).std() / np.sqrt(len(before))": "the mean is taken from the same windows: ddof=1.",
            "after.std(ddof=1) / np.sqrt(len(before))": "that is the error of one model's mean loss; the difference is asked for.",
            "np.abs(after - before).mean()": "that is a size of the difference, not how well its mean is known.",
        },
        cases=_losses,
        learned="Of SmolLM2's windows the mean loss is known to 0.08 nats, the cost of NF4 to 0.02: that is what pairing gives.",
    ),
    Exercise(
        name="what_the_file_was",
        title="a perfect code?",
        question="""
No formula, a prediction. A file holds a model in NF4, blocks of 64, decoded to float16 by somebody who did not say so. You try
codes on it. Which looks perfect?

a) Affine int4 in blocks of 32: it won on SmolLM2. b) NF4 in blocks of 64. c) NF4 in blocks of 32: smaller blocks, less error.
d) None: four bits always lose something.""",
        code="answer = ____",
        solution='"b"',
        mistakes={
            '"a"': "on SmolLM2 it won because that file was affine int4 in blocks of 32; this one was something else.",
            '"c"': "half of a block may lack its absmax, so its scale is another and its sixteen values are, too.",
            '"d"': "they lose something once; a second time, with the same values at hand, there is little left to lose.",
        },
        learned="Nearly: float16 moves the values a little. So look for the code that is too good to be true, and suspect the file.",
        understanding=True,
    ),
)
